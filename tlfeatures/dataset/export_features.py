"""The command `export-features`: write the embeddings of a file for other programs."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.embedding_choice import whole_name
from tlfeatures.dataset.labelled import label_all
from tlfeatures.dataset.labels import Groups, Labels
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.combined import PLUS
from tlfeatures.features.exchange.arrays import EMBEDDING_NAMES
from tlfeatures.features.exchange.csv_files import CsvWriter
from tlfeatures.features.exchange.numpy_files import NpzWriter
from tlfeatures.features.exchange.parquet_files import ParquetWriter, check_pyarrow
from tlfeatures.features.exchange.stored_labels import labels_of_header
from tlfeatures.features.exchange.table import rows_of_block
from tlfeatures.features.file.reader import Reader, open_embeddings
from tlfeatures.features.imported import VALUES
from tlfeatures.features.sources.folder_labels import LabelRow
from tlfeatures.file_result import FileResult
from tlfeatures.files import file_target, replacing
from tlfeatures.html_tables import Cell
from tlfeatures.names import as_list, counted, unknown_name
from tlfeatures.progress import Progress, shown_progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class FeaturesFile(FileResult):
    """Result of `export_features`.

    Attributes
    ----------
    file : str
        Path of the features file.
    images : int
        Number of rows.
    embeddings : dict of name to width
        Number of columns of each embedding.
    dtype : {"float32", "float16"}
        Number format of the values.
    labelled : int
        Number of rows with a label.
    bytes : int
        Size of the file.
    """

    images: int
    embeddings: dict[str, int]
    dtype: str
    labelled: int
    bytes: int

    def _about(self) -> str:
        return f"{counted(self.images, 'image')}, {self.bytes / 1e6:.1f} MB"

    def _facts(self) -> Mapping[str, Cell]:
        return {
            "embeddings": ", ".join(f"{name} ({d:,})" for name, d in self.embeddings.items()),
            "number format": self.dtype,
            "rows with a label": self.labelled,
        }


def export_features(
    file: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    embedding: str | Sequence[str] | None = None,
    labels: Labels = None,
    groups: Groups = None,
    label_level: int | None = None,
    columns: Mapping[str, str] | None = None,
    progress: bool | Progress | None = None,
) -> FeaturesFile:
    """Write embeddings with their ids, labels, groups and splits as a features file.

    `import_features` makes the same embeddings of it, bit for bit. Variants are not written.

    Parameters
    ----------
    file : path
        Embeddings file.
    output : path
        File whose name ends in .npz, .parquet or .csv. An existing file is replaced. A .npz has the
        arrays `ids`, `labels`, `groups`, `split` and `sha256`, and one of shape (n, d) for each
        embedding. A table has the columns `id`, `label`, `group`, `split` and `sha256`, and a
        column for each value, as `block5_pool.avg.0`. Labels, groups and splits are written if
        there are some. Parquet needs `pip install 'tlfeatures[parquet]'`.
    embedding : str or sequence of str, optional
        Embeddings to write; by default all.
    labels, groups, label_level, columns
        See `load_dataset`. Rows without a label are written, too.
    progress : bool or callable of (done, total), optional
        Counts rows, those of each embedding for a .npz. See `extract`.

    Returns
    -------
    FeaturesFile

    Raises
    ------
    ParameterError
        If there is no such file or embedding, or the output has another ending.
    DatasetError
        If no row is done, or labels can't be read.
    StoreError
        If the file can't be read.
    OutputError
        If the output can't be written. What was there stays.

    Examples
    --------
    >>> export_features("photos.h5", "photos.npz")  # doctest: +SKIP
    >>> numpy.load("photos.npz")["block5_pool.avg"].shape  # doctest: +SKIP
    (1078, 512)
    """
    write = _WRITERS.get(Path(output).suffix.lower())
    if write is None:
        raise ParameterError(
            f"output is {str(output)!r}; expected a name ending in {', '.join(_WRITERS)}"
        )
    if write is _write_parquet:
        check_pyarrow(output)
    target = file_target(output, "features.npz", "the features")
    with (
        open_embeddings(file) as reader,
        shown_progress(progress, "exporting", "rows") as show,
    ):
        export = _Export(reader, _chosen(reader, embedding), show)
        if not len(export.rows):
            raise DatasetError(f"no image of {file} is embedded, so there is nothing to write")
        if labels is None and label_level is None:
            labels = labels_of_header(reader.header)
        rows = label_all(
            export.ids,
            str(file),
            labels,
            groups,
            label_level=label_level,
            columns=columns,
        )
        if reader.header.spec.variants:
            logger.info("the variants of %s are not written", file)
        with replacing(target) as fresh:
            write(fresh, export, _text_columns(export, rows))
    return FeaturesFile(
        file=str(output),
        images=len(export.rows),
        embeddings=export.widths,
        dtype=reader.header.dtype,
        labelled=sum(row.label is not None for row in rows),
        bytes=target.stat().st_size,
    )


class _Export:
    """The rows of an embeddings file that are written.

    Attributes
    ----------
    rows : ndarray of shape (n,)
        Numbers of the finished rows in the file.
    widths : dict of name to int
        The embeddings that are written.
    """

    def __init__(self, reader: Reader, names: list[str], progress: Progress) -> None:
        self._reader, self._progress = reader, progress
        self.rows = np.flatnonzero(reader.header.done)
        self.widths = {name: reader.header.embeddings[name] for name in names}
        self.dtype = reader.header.dtype

    @property
    def ids(self) -> list[str]:
        """Ids of the rows."""
        return [self._reader.header.ids[row] for row in self.rows.tolist()]

    @property
    def digests(self) -> list[str]:
        """sha256 of the image files, in hexadecimal digits; none if they are of the values."""
        imported = self._reader.header.spec.imported
        if imported is not None and imported.digests == VALUES:
            return []
        return [self._reader.header.digests[row].hex() for row in self.rows.tolist()]

    def blocks(self, names: Sequence[str], before: int = 0, total: int = 0) -> Iterator[_Block]:
        """Read rows of some embeddings: their range, and values of shape (b, d) side by side.

        Of `total` rows of all embeddings, `before` are done.
        """
        step = rows_of_block({name: self.widths[name] for name in names})
        for start in range(0, len(self.rows), step):
            part = self.rows[start : start + step]
            values = [self._reader.copy_rows(f"embeddings/{name}", part) for name in names]
            stop = start + len(part)
            yield slice(start, stop), values[0] if len(values) == 1 else np.hstack(values)
            self._progress(before + stop, total or len(self.rows))


_Block = tuple[slice, NDArray[Any]]
Texts = dict[str, list[str | None]]


def _chosen(reader: Reader, embedding: str | Sequence[str] | None) -> list[str]:
    """Return the names of the embeddings to write."""
    names = list(reader.header.embeddings)
    if embedding is None:
        return names
    chosen = [whole_name(name, names) for item in as_list(embedding) for name in item.split(PLUS)]
    for name in chosen:
        if name not in names:
            raise unknown_name(f"embedding of {reader.header.path}", name, names)
    return list(dict.fromkeys(chosen))


def _text_columns(export: _Export, rows: list[LabelRow]) -> Texts:
    """Return the columns of texts; those without any text are left out."""
    columns: Texts = {
        "id": [*export.ids],
        "label": [row.label for row in rows],
        "group": [row.group for row in rows],
        "split": [row.split for row in rows],
        "sha256": [*export.digests],
    }
    return {name: values for name, values in columns.items() if any(values)}


_ARRAY_NAMES = {"id": "ids", "label": "labels", "group": "groups"}


def _write_npz(path: Path, export: _Export, texts: Texts) -> None:
    total = len(export.rows) * len(export.widths)
    with NpzWriter(path) as file:
        for name, values in texts.items():
            file.add(_ARRAY_NAMES.get(name, name), np.array([text or "" for text in values]))
        file.add(EMBEDDING_NAMES, np.array(list(export.widths)))
        for number, (name, width) in enumerate(export.widths.items()):
            blocks = export.blocks([name], number * len(export.rows), total)
            shape = (len(export.rows), width)
            file.add_blocks(name, shape, export.dtype, (values for _, values in blocks))


def _value_columns(export: _Export) -> list[str]:
    return [f"{name}.{number}" for name, width in export.widths.items() for number in range(width)]


def _write_csv(path: Path, export: _Export, texts: Texts) -> None:
    with CsvWriter(path, [*texts, *_value_columns(export)]) as file:
        for rows, values in export.blocks(list(export.widths)):
            file.add([column[rows] for column in texts.values()], values)


def _write_parquet(path: Path, export: _Export, texts: Texts) -> None:
    with ParquetWriter(path, list(texts), _value_columns(export), export.dtype) as file:
        for rows, values in export.blocks(list(export.widths)):
            file.add([column[rows] for column in texts.values()], values)


_WRITERS: dict[str, Callable[[Path, _Export, Texts], None]] = {
    ".npz": _write_npz,
    ".parquet": _write_parquet,
    ".csv": _write_csv,
}
