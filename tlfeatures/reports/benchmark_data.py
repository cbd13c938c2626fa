"""The datasets of a benchmark, loaded again from the files that its folder names.

A file is used only if it still holds the very images, labels and values of the benchmark, so that
all parts of a page belong together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tlfeatures.benchmarking.benchmark import Benchmark
from tlfeatures.benchmarking.common_images import cut_to_common
from tlfeatures.benchmarking.digests import digest_of_images, fingerprint
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.labels import is_table
from tlfeatures.dataset.load import load_dataset
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.file.reader import read_header

FileEmbedding = tuple[str, str, int]  # file, embedding, number of variants


class BenchmarkData:
    """Datasets of a benchmark's entries, each loaded once.

    Parameters
    ----------
    benchmark : Benchmark
    datasets : mapping of (file, embedding, variants) to Dataset, optional
        Datasets that are loaded already.
    """

    def __init__(
        self, benchmark: Benchmark, datasets: Mapping[FileEmbedding, Dataset] | None = None
    ) -> None:
        self._benchmark = benchmark
        self._datasets = dict(datasets or {})

    def dataset(self, entry: Mapping[str, Any]) -> Dataset:
        """Give the dataset of an entry, from its facts.

        Raises
        ------
        ParameterError
            If its file is missing.
        DatasetError
            If the file no longer holds what the benchmark was computed from.
        """
        key = entry["file"], entry["embedding"], entry.get("variants", 0)
        if key not in self._datasets:
            self._datasets[key] = self._load(*key, entry)
        return self._datasets[key]

    def find(self, file: str) -> str:
        """Find a file at its path in the benchmark, or in or next to the benchmark's folder."""
        out = self._benchmark.out
        near = [] if out is None else [Path(out).resolve(), Path(out).resolve().parent]
        for path in (Path(file), *(folder / Path(file).name for folder in (Path(), *near))):
            if path.is_file():
                return str(path)
        raise ParameterError(
            f"the file {file} isn't there; run this where the benchmark was run, or put "
            "the file next to the benchmark's folder"
        )

    def _load(self, file: str, embedding: str, variants: int, entry: Mapping[str, Any]) -> Dataset:
        facts = self._benchmark.study.facts
        data = load_dataset(
            self.find(file),
            embedding,
            self._labels(),
            groups=self._groups(),
            label_level=facts["label_level"],
            label_columns=facts["label_columns"],
            near_duplicates=None,
            variants=variants,
        )
        others = {name: read_header(self.find(name)) for name in facts["files"] if name != file}
        data = cut_to_common(data, file, others, facts["file"])
        data = _with_copies(data, facts["copy_pairs"])
        if digest_of_images(data) != facts["study"][:16] or fingerprint(data) != entry["matrix"]:
            if facts["labels_given"] and facts["tested"] < facts["images"]:
                raise DatasetError(
                    "the labels were given in Python, and the folder has only those of the images "
                    "that were tested"
                )
            raise DatasetError(
                f"{file} or its labels are no longer what the benchmark was computed from; run the "
                "benchmark again into a new folder"
            )
        return data

    def _labels(self) -> Any:
        """A path; None for the folders; of labels given in Python, those of tested images."""
        study = self._benchmark.study
        if study.facts["labels_given"]:
            return dict(zip(study.ids.tolist(), study.y.tolist(), strict=True))
        path = study.facts["labels"]
        return None if path is None else self.find(path)

    def _groups(self) -> str | None:
        """A path, or an expression."""
        groups: str | None = self._benchmark.study.facts["groups_from"]
        return self.find(groups) if groups is not None and is_table(groups) else groups


def _with_copies(data: Dataset, pairs: list[list[str]]) -> Dataset:
    """Use the benchmark's pairs of copies, which may have been found on another embedding."""
    place = {id_: row for row, id_ in enumerate(data.ids.tolist())}
    rows = [[place.get(i, -1), place.get(j, -1)] for i, j in pairs]
    copies = np.array([pair for pair in rows if -1 not in pair], np.int64).reshape(-1, 2)
    return replace(data, copies=copies)
