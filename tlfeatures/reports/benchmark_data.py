"""Loading the datasets of a benchmark again, from the embeddings files that its folder names.

The folder itself has the labels, groups, splits and copies. An embeddings file is used only if it
still has the images and values from which the benchmark was computed. Otherwise the parts of a page
would not match.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tlfeatures.benchmarking.benchmark_result import Benchmark
from tlfeatures.benchmarking.digests import fingerprint
from tlfeatures.benchmarking.study import Study, entry_parts
from tlfeatures.dataset.dataset import Dataset, Unreadable
from tlfeatures.dataset.embedding_choice import embedding_for_copies, with_variants
from tlfeatures.dataset.from_arrays import ARRAYS
from tlfeatures.dataset.joined_files import join_datasets
from tlfeatures.dataset.matching import rows_of
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.combined import join, parts_of
from tlfeatures.features.file.reader import open_embeddings


class BenchmarkData:
    """Datasets of a benchmark's entries. Each dataset is loaded once.

    Parameters
    ----------
    benchmark : Benchmark
    datasets : sequence of Dataset
        Datasets that are already loaded. They are used if they have the benchmark's values.
    """

    def __init__(self, benchmark: Benchmark, datasets: Sequence[Dataset] = ()) -> None:
        self._benchmark = benchmark
        matrices = {entry.facts["matrix"] for entry in benchmark.entries}
        self._datasets = dict(_with_matrix(benchmark.study, data, matrices) for data in datasets)

    def dataset(self, entry: Mapping[str, Any]) -> Dataset:
        """Return the dataset of an entry, from its facts.

        Raises
        ------
        ParameterError
            If the embeddings file is missing.
        DatasetError
            If the embeddings file no longer has the values of the benchmark.
        """
        key = entry["matrix"]
        if key not in self._datasets:
            self._datasets[key] = self._load(entry)
        return self._datasets[key]

    def find(self, file: str) -> str:
        """Return the path of a file of the benchmark.

        The file is searched at its original path, in the current folder, in the benchmark's folder
        and next to it.

        Raises
        ------
        ParameterError
            If the file is missing.
        """
        if file == ARRAYS:
            raise ParameterError(
                "the benchmark was run on arrays in Python, whose values are in no file; to have "
                "this part, save the arrays and make an embeddings file of them (`tlfeatures "
                "import`)"
            )
        out = self._benchmark.out
        near = [] if out is None else [Path(out).resolve(), Path(out).resolve().parent]
        for path in (Path(file), *(folder / Path(file).name for folder in (Path(), *near))):
            if path.is_file():
                return str(path)
        raise ParameterError(
            f"the file {file} does not exist; run the command in the folder where the benchmark "
            "was run, or put the file next to the benchmark's folder"
        )

    def _load(self, entry: Mapping[str, Any]) -> Dataset:
        """Load the embeddings of the study's images. Labels and other facts are the study's."""
        parts = entry_parts(self._benchmark.study.facts["files"], entry)
        data = join_datasets(
            [self._load_file(about, embedding, entry["variants"]) for embedding, about in parts]
        )
        if fingerprint(data) != entry["matrix"]:
            raise _other_content(entry["file"])
        return data

    def _load_file(self, about: Mapping[str, Any], embedding: str, variants: int) -> Dataset:
        study, file = self._benchmark.study, about["file"]
        with open_embeddings(self.find(file)) as reader:
            header = reader.header
            done = np.flatnonzero(header.done).tolist()
            rows = rows_of(study.ids.tolist(), [header.ids[row] for row in done])
            parts = parts_of(embedding)
            whole = header.embeddings.keys() >= set(parts) and variants <= header.spec.variants
            if rows is None or not whole:
                raise _other_content(file)
            # A slice of all rows is no copy: they may be mapped, see `mapped_rows`.
            chosen = slice(None) if rows == list(range(len(done))) else rows
            X = join({part: reader.read(part)[chosen] for part in parts}, embedding)
            varied = (
                {part: reader.read_variants(part, variants)[chosen] for part in parts}
                if variants
                else None
            )
            digests = b"".join(header.digests[done[row]] for row in rows)
            best = embedding_for_copies(header)
            looks = None if best == embedding else reader.read(best)[chosen]
        return Dataset(
            X=X,
            y=study.y,
            groups=study.groups,
            ids=study.ids,
            split=study.split,
            embedding=embedding,
            spec=with_variants(header.spec, variants),
            file=file,
            copies=study.copies,
            digests=np.frombuffer(digests, np.uint8).reshape(len(rows), -1),
            variants=None if varied is None else join(varied, embedding),
            looks=looks,
            near_duplicates=about["near_duplicates"],
            unreadable=tuple(
                Unreadable(id_, None, header.failures.get(id_, "it could not be read"))
                for id_ in study.facts["unreadable"]
            ),
        )


def _with_matrix(study: Study, data: Dataset, matrices: set[str]) -> tuple[str, Dataset]:
    """Take the images of the study, and give the hash of their values with the dataset."""
    rows = rows_of(study.ids.tolist(), data.ids.tolist())
    if rows is not None:
        taken = replace(data.take(np.array(rows)), ids=study.ids)
        matrix = fingerprint(taken)
        if matrix in matrices and np.array_equal(taken.y, study.y):
            return matrix, taken
    raise DatasetError(
        f"the benchmark was not computed on the Dataset of {data.file} that is given: its images, "
        "labels or values are others; give the Dataset that `benchmark` got, or none"
    )


def _other_content(file: str) -> DatasetError:
    return DatasetError(
        f"{file} has changed since the benchmark was computed; run the benchmark again with a new "
        "folder"
    )
