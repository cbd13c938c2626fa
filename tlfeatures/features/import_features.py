"""The command `import`: a features file of another program in, an embeddings file out."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.exchange.open_features import ids_of, open_features
from tlfeatures.features.exchange.spool import Spool
from tlfeatures.features.exchange.stored_values import digests_of, to_stored
from tlfeatures.features.exchange.table import FeatureTable, check_name, rows_of_block, sha256_of
from tlfeatures.features.file.create import Contents, create
from tlfeatures.features.file.format import DTYPES
from tlfeatures.features.file.lock import exclusive
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.file.writer import Writer
from tlfeatures.features.images.identify import UNKNOWN, Manifest
from tlfeatures.features.imported import STATED, VALUES, Imported
from tlfeatures.features.sources.records import ImageRecord
from tlfeatures.features.spec import Spec
from tlfeatures.file_result import FileResult
from tlfeatures.files import check_ending, file_target, replacing
from tlfeatures.html_tables import Cell
from tlfeatures.names import counted, some_of, unknown_name
from tlfeatures.progress import Progress, shown_progress

logger = logging.getLogger(__name__)

DEFAULT_NAME = "features"


@dataclass(frozen=True, repr=False)
class Importing(FileResult):
    """Result of `import_features`.

    Attributes
    ----------
    file : str
        Path of the embeddings file.
    source : str
        Path of the features file.
    sha256 : str
        sha256 of the features file.
    images : int
        Number of rows.
    embeddings : dict of name to width
        Number of columns of each embedding.
    dtype : {"float32", "float16"}
        Number format of the embeddings in the file.
    numbered : bool
        Whether the features file has no ids, so that the rows are numbered.
    digests : {"stated", "values"}
        Whether the features file states the sha256 of the image files; otherwise the digest of a
        row is the sha256 of its values.
    classes, splits : dict of name to number of rows
        Empty if the features file has no labels or no splits.
    groups : int
        Number of groups; 0 if the features file has none.
    unused : list of str
        Names of arrays or columns of the features file that were not used.
    seconds : float
        Duration of the whole call.
    """

    source: str
    sha256: str
    images: int
    embeddings: dict[str, int]
    dtype: str
    numbered: bool
    digests: str
    classes: dict[str, int]
    splits: dict[str, int]
    groups: int
    unused: list[str]
    seconds: float

    def _about(self) -> str:
        classes = f", {counted(len(self.classes), 'class')}" if self.classes else ""
        return f"{counted(self.images, 'image')}{classes} of {self.source}"

    def _facts(self) -> Mapping[str, Cell]:
        return {
            "embeddings": ", ".join(f"{name} ({d:,})" for name, d in self.embeddings.items()),
            "number format": self.dtype,
            "classes": some_of((f"{name} {n:,}" for name, n in self.classes.items()), 6),
            "splits": ", ".join(f"{name} {n:,}" for name, n in self.splits.items()),
            "groups": self.groups or None,
        }


def import_features(
    features: str | os.PathLike[str],
    file: str | os.PathLike[str],
    *,
    ids: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    embedding: str | None = None,
    dtype: str | None = None,
    backbone_name: str | None = None,
    note: str | None = None,
    command: str | None = None,
    progress: bool | Progress | None = None,
) -> Importing:
    """Make an embeddings file of features that another program has computed.

    The embeddings file can be used as one that `extract` has made, except that images can't be
    added to it. Its spec says that it was imported. Labels, groups and splits of the features file
    are not stored: they are read from the features file again, unless others are given.

    Parameters
    ----------
    features : path
        A .npz, .npy, CSV, Parquet or HDF5 file with one row for each image, or a folder with an
        HDF5 file for each slide, as TRIDENT writes it. The content decides, not the ending. Arrays
        or columns are recognised by their names: `ids`, `labels`, `groups`, `split`, `sha256` (of
        the image files, hexadecimal), and `features` or `X` of shape (n, d). Tables have numbered
        columns, such as `features.0` or `f1`, or a column of lists. Rows without ids are numbered.
        Pickled objects are never read.
    file : path
        The embeddings file. An imported file there is replaced.
    ids : path, optional
        File with the ids of the rows in their order: a text with one id a line, a CSV with the
        column id (and label, group, split), or a .npy of texts.
    columns : mapping of {"id", "label", "group", "split", "sha256", "features"} to str, optional
        Names of arrays or columns, if they differ from the usual ones. For columns of single
        values, `features` is the text before their numbers.
    embedding : str, default "features"
        Name of the embedding. Columns such as `block5_pool.avg.0` name their embedding themselves.
    dtype : {"float32", "float16"}, optional
        Number format of the embeddings; by default float16 if all values are float16, otherwise
        float32.
    backbone_name : str, optional
        Name of the network that has computed the values, as far as you know.
    note : str, optional
        A text that is stored in the file.
    command : str, optional
        The command line of the run. It is stored in the file for people to read.
    progress : bool or callable of (done, total), optional
        Counts rows. See `extract`.

    Returns
    -------
    Importing

    Raises
    ------
    ParameterError
        If there is no such file, an option has a wrong value, or `file` was not imported.
    DatasetError
        If the features can't be read: wrong lengths, values that are missing or not finite, objects
        of Python, equal ids.
    StoreError
        If the file can't be written.

    Examples
    --------
    >>> import_features("clip.npz", "clip.h5", backbone_name="CLIP ViT-B/32")  # doctest: +SKIP
    """
    started = time.perf_counter()
    check_ending(file, "an embeddings file")
    target = file_target(file, "features.h5", Path(file).name)
    if dtype not in (None, *DTYPES):
        raise unknown_name("dtype", str(dtype), DTYPES)
    table = _named(open_features(features, ids=ids, columns=columns), embedding)
    table = replace(table, dtype=dtype or table.dtype)
    sha256 = sha256_of(table)
    stated = table.facts.sha256
    with exclusive(target):
        _check_replaceable(target)
        with (
            Spool(target.parent, table.widths, table.dtype, table.rows) as spool,
            shown_progress(progress, "importing", "rows") as show,
        ):
            digests = _fill(spool, table, show)
            imported = Imported(
                digests=VALUES if stated is None else STATED,
                file=table.path.resolve().name,
                sha256=sha256,
                backbone=backbone_name or None,
                note=note or None,
            )
            provenance = _provenance(table, ids, columns, command)
            _write(target, spool, table, digests, Spec.of_imported(imported), provenance)
    return _summary(str(file), str(features), table, imported, time.perf_counter() - started)


def _named(table: FeatureTable, embedding: str | None) -> FeatureTable:
    if embedding is not None:
        check_name(embedding)
    if embedding is not None and "" not in table.widths:
        own = list(table.widths)
        if len(own) > 1:
            raise ParameterError(
                f"{table.path} has several embeddings ({', '.join(own)}); leave out --embedding"
            )
        return table.renamed(own[0], embedding)
    return table.renamed("", embedding or DEFAULT_NAME)


def _check_replaceable(target: Path) -> None:
    """Refuse to replace a file of which the rows may have taken hours."""
    if target.exists() and read_header(target).spec.imported is None:
        raise ParameterError(
            f"{target} holds embeddings that `extract` has computed; give another file with -o"
        )


def _fill(spool: Spool, table: FeatureTable, progress: Progress) -> list[bytes]:
    """Put all values into the spool, and return the digest of each row."""
    ids = ids_of(table)
    digests: list[bytes] = []
    done = 0
    for block in table.blocks():
        stored = {
            name: to_stored(values, table.dtype, ids[done:], name, table.path)
            for name, values in block.items()
        }
        spool.add(stored)
        done += len(next(iter(stored.values())))
        if table.facts.sha256 is None:
            digests += digests_of(stored)
        progress(done, table.rows)
    if done != table.rows:
        raise DatasetError(f"{table.path} has {done:,} rows of values, expected {table.rows:,}")
    return table.facts.sha256 or digests


def _provenance(
    table: FeatureTable,
    ids: str | os.PathLike[str] | None,
    columns: Mapping[str, str] | None,
    command: str | None,
) -> dict[str, Any]:
    """Return where the rows come from, so that their labels can be read again."""
    return {
        "source": str(table.path.resolve()),
        **({} if ids is None else {"ids": str(Path(ids).resolve())}),
        **({"columns": dict(columns)} if columns else {}),
        **({"states_labels": True} if table.facts.states_labels else {}),
        "commands": [] if command is None else [command],
    }


def _write(
    target: Path,
    spool: Spool,
    table: FeatureTable,
    digests: list[bytes],
    spec: Spec,
    provenance: dict[str, Any],
) -> None:
    """Write the embeddings file with its rows in the order of their ids."""
    ids = ids_of(table)
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
    rows = order.tolist()
    manifest = Manifest(
        [ImageRecord(ids[row], "", ids[row]) for row in rows],
        [digests[row] for row in rows],
        [UNKNOWN] * len(rows),
    )
    contents = Contents(manifest, spec, table.widths, table.dtype, provenance)
    step = rows_of_block(table.widths)
    with replacing(target) as fresh:
        create(fresh, contents, named=target)
        with Writer(fresh, named=target) as writer:
            for start in range(0, len(order), step):
                part = order[start : start + step]
                writer.write(range(start, start + len(part)), spool.take(part))


def _summary(
    file: str, source: str, table: FeatureTable, imported: Imported, seconds: float
) -> Importing:
    facts = table.facts
    return Importing(
        file=file,
        source=source,
        sha256=imported.sha256 or "",
        images=table.rows,
        embeddings=table.widths,
        dtype=table.dtype,
        numbered=facts.id is None,
        digests=imported.digests,
        classes=_counts(facts.label),
        splits=_counts(facts.split),
        groups=len(_counts(facts.group)),
        unused=list(table.unused),
        seconds=seconds,
    )


def _counts(names: list[str | None] | None) -> dict[str, int]:
    return dict(sorted(Counter(name for name in names or [] if name is not None).items()))
