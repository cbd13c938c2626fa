"""The embeddings file. This docstring is the specification of the format, version 1.

An embeddings file is one HDF5 file. It uses the oldest file version of HDF5 (the library's
default), so that h5py, pandas or MATLAB open it without this package. It holds n images in the
order of their ids:

=====================================  ================  =========================================
``/ids``                               (n,) text         path of the image, relative to the source
                                                         folder; of an imported row, its id
``/digest``                            (n, 32) uint8     sha256 of the image file; zeros if the
                                                         file could not be read. If the spec says
                                                         that the digests of imported rows are
                                                         those of values: sha256 of the row as
                                                         float32
``/stat``                              (n, 2) int64      size in bytes and modification time in ns
                                                         of the image file just before its sha256
                                                         was computed; zeros if unknown
``/done``                              (n,) bool         whether row i of every embedding, its
                                                         variants and its properties are written
``/reason``                            (n,) text         why image i could not be embedded, else
                                                         empty
``/embeddings/EMBEDDING``              (n, d) values     one dataset per embedding
``/variants/EMBEDDING``                (n, v, d) values  the same for the v variants of each image;
                                                         only if the spec's augmentation has some
``/properties``                        (n, 76) float32   size of the file, width, height, colours
                                                         and so on of each image, in the order of
                                                         `PROPERTIES` in
                                                         `tlfeatures.features.images.properties`;
                                                         not in a file of imported rows
``/checksums/embeddings/EMBEDDING``    (n,) uint32       CRC-32 (as in zlib) of the bytes of each
                                                         row; arbitrary for rows that are not done
``/checksums/variants/EMBEDDING``      (n,) uint32       the same for the variants
``/checksums/properties``              (n,) uint32       the same for the properties
=====================================  ================  =========================================

Text is UTF-8 of fixed length. Paths in ``/ids`` have forward slashes. Values are all float32 or all
float16. EMBEDDING is ``LAYER.POOLING``, or the name of an imported embedding. Properties are always
float32. They don't decide which rows may be compared.

The attributes of the root are the header: ``format`` ("tlfeatures embeddings"), ``format_version``
(1), ``spec`` (JSON, see `tlfeatures.features.spec.Spec`), ``provenance`` (JSON: versions of the
libraries that wrote the file and, if known, the source of the images or of imported rows, with the
options by which it is opened again, and the commands that were run; never a reason to compute an
embedding again) and, only in a sharded file, ``shards``.

A sharded file has its rows in s shards. Shards are files in this format, not sharded themselves,
in a folder beside the file; the attribute ``shards`` is the folder's name. The file has no
``/checksums``, because the shards have them. Its ``/embeddings``, ``/variants`` and
``/properties`` are virtual datasets of HDF5 that map the shards' rows, and it has four further
datasets:

=====================================  ================  =========================================
``/place``                             (n, 2) int64      number of the shard with image i and its
                                                         row there; -1 if the image could not be
                                                         embedded
``/shards/name``                       (s,) text         file name: 64 hexadecimal digits, ``.h5``
``/shards/size``                       (s,) int64        size of the shard in bytes
``/shards/sha256``                     (s, 32) uint8     sha256 of the shard's bytes
=====================================  ================  =========================================

Rules for readers. A row counts if and only if ``done`` says so: rows that are not written read as
zeros, so values cannot tell. The id is the image's identity, the digest tells whether it has
changed. A file whose size and modification time are those in ``stat`` most likely still has the
digest. They are zeros if the time was less than 2 s old or in the future, so that a change within
one step of the clock is noticed. Rows in a shard that is missing or has another size are not done,
whatever ``done`` says. A reader that follows the virtual datasets by HDF5 alone gets NaN for them,
and for rows that are in no shard. This package does not follow them: a crafted file could map any
file of the computer. It opens the shards itself, and accepts only embeddings files with the
names, sizes and images that the sharded file states.

Rules for writers. All datasets are contiguous, and their space is allocated when the file is
created, so that writing rows changes no metadata: the file opens again whenever the process is
killed. Rows and their checksums reach the disk before their ``done`` does. A file is created under
a temporary name (``.FILE.PID-HOST-RANDOM.new``), flushed to the disk and renamed. To add images or
embeddings, a writer creates ``FILE.partial`` beside the file, copies every finished row with the
same digest, computes the others, and renames it to the file. After an interruption the next run
continues with ``FILE.partial``. A copied row keeps its checksum, so that damage stays visible. Only
two things are changed in an existing file apart from its missing rows: ``done`` may be set to
false, so that a row is computed again, and ``stat`` may be updated if the bytes are the same. One
writer at a time holds a lock on ``.FILE.lock`` (see `tlfeatures.locks`); readers need none. A
sharded file is created at the end of a run, when all its shards exist; shards of an interrupted run
are found in their folder.

To change the format after the first release: increase ``FORMAT_VERSION``, keep reading every
released version, and add a file of the old version to the tests' fixtures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.features.file.sharded import Shards, shards_folder
from tlfeatures.features.images.identify import UNKNOWN, UNREADABLE, Manifest, Stamp
from tlfeatures.features.images.properties import PROPERTIES
from tlfeatures.features.spec import Spec

FORMAT = "tlfeatures embeddings"
FORMAT_VERSION = 1
DTYPES = ("float32", "float16")
REASON_BYTES = 160


@dataclass(frozen=True)
class DatasetFormat:
    """One dataset of the file.

    Attributes
    ----------
    path : str
        EMBEDDING stands for the name of each embedding.
    shape : tuple of str and int
        Lengths of the axes: n images, v variants, s shards, and the width d of the embedding.
    dtype : str
        Name of a NumPy dtype, "text" (of fixed length), or "values" (the file's float dtype).
    conditions : tuple of {"plain", "sharded", "variants", "images"}
        The kinds of files that have the dataset: it must be of all these kinds. All but those of
        imported rows are files of images.
    in_shards : bool
        Whether the rows are in the shards of a sharded file, which maps them.
    """

    path: str
    shape: tuple[str | int, ...]
    dtype: str
    conditions: tuple[str, ...] = ()
    in_shards: bool = False


PROPERTIES_TABLE = "properties"

DATASETS = (
    DatasetFormat("ids", ("n",), "text"),
    DatasetFormat("digest", ("n", 32), "uint8"),
    DatasetFormat("stat", ("n", 2), "int64"),
    DatasetFormat("done", ("n",), "bool"),
    DatasetFormat("reason", ("n",), "text"),
    DatasetFormat("embeddings/EMBEDDING", ("n", "d"), "values", in_shards=True),
    DatasetFormat("variants/EMBEDDING", ("n", "v", "d"), "values", ("variants",), in_shards=True),
    DatasetFormat("properties", ("n", len(PROPERTIES)), "float32", ("images",), in_shards=True),
    DatasetFormat("checksums/embeddings/EMBEDDING", ("n",), "uint32", ("plain",)),
    DatasetFormat("checksums/variants/EMBEDDING", ("n",), "uint32", ("plain", "variants")),
    DatasetFormat("checksums/properties", ("n",), "uint32", ("plain", "images")),
    DatasetFormat("place", ("n", 2), "int64", ("sharded",)),
    DatasetFormat("shards/name", ("s",), "text", ("sharded",)),
    DatasetFormat("shards/size", ("s",), "int64", ("sharded",)),
    DatasetFormat("shards/sha256", ("s", 32), "uint8", ("sharded",)),
)


def datasets_of(names: Iterable[str], spec: Spec, *, sharded: bool) -> Iterator[DatasetFormat]:
    """List the datasets of a file with these embeddings.

    EMBEDDING is replaced by each name, and the axis d by one per embedding, see `width_axis`.
    """
    kinds = {"sharded" if sharded else "plain"}
    kinds |= {"variants"} if spec.variants else set()
    kinds |= {"images"} if spec.imported is None else set()
    names = list(names)
    for entry in DATASETS:
        if not set(entry.conditions) <= kinds:
            continue
        if "EMBEDDING" not in entry.path:
            yield entry
            continue
        for name in names:
            shape = tuple(width_axis(name) if axis == "d" else axis for axis in entry.shape)
            yield replace(entry, path=entry.path.replace("EMBEDDING", name), shape=shape)


def tables_of(names: Iterable[str], spec: Spec) -> list[str]:
    """Paths of the datasets with values: of the embeddings, their variants and the properties."""
    groups = ["embeddings", *(["variants"] if spec.variants else [])]
    names = list(names)
    tables = [f"{group}/{name}" for group in groups for name in names]
    return tables if spec.imported is not None else [*tables, PROPERTIES_TABLE]


def width_axis(name: str) -> str:
    """Name of the axis that is as long as an embedding is wide."""
    return f"width of {name}"


def shorten_reason(reason: str) -> str:
    """Shorten a reason to the bytes that a file has for it, without splitting a character."""
    return reason.encode()[:REASON_BYTES].decode("utf-8", "ignore")


@dataclass(frozen=True)
class Header:
    """Everything in a file except its embeddings.

    Attributes
    ----------
    path : Path
    ids : list of str, length n
    digests : list of bytes, length n
        sha256 of each image file.
    stamps : list of (int, int), length n
        Size in bytes and modification time in ns of each image file; zeros if unknown.
    done : ndarray of shape (n,), bool
    reasons : list of str, length n
        Why an image could not be embedded, else empty.
    spec : Spec
    embeddings : dict of name to width
    dtype : {"float32", "float16"}
    provenance : dict
    shards : Shards or None
        The shards of a sharded file; None for a file that has its rows itself.
    """

    path: Path
    ids: list[str]
    digests: list[bytes]
    stamps: list[Stamp]
    done: NDArray[np.bool_]
    reasons: list[str]
    spec: Spec
    embeddings: dict[str, int]
    dtype: str
    provenance: dict[str, Any]
    shards: Shards | None = None

    @property
    def failures(self) -> dict[str, str]:
        """Id -> reason of every image that could not be embedded."""
        pairs = zip(self.ids, self.reasons, strict=True)
        return {id_: reason for id_, reason in pairs if reason}

    def done_digests(self) -> set[bytes]:
        """Return the sha256 of the images whose rows are done."""
        return {self.digests[row] for row in np.flatnonzero(self.done).tolist()}

    @property
    def tables(self) -> list[str]:
        """Paths of the datasets with values, see `tables_of`."""
        return tables_of(self.embeddings, self.spec)

    def row_shape(self, table: str) -> tuple[int, ...]:
        """Return the shape of one row of a table: (d,), (v, d) for variants, (q,)."""
        if table == PROPERTIES_TABLE:
            return (len(PROPERTIES),)
        group, _, name = table.partition("/")
        width = self.embeddings[name]
        return (self.spec.variants, width) if group == "variants" else (width,)

    def row_dtype(self, table: str) -> np.dtype[Any]:
        """Return the dtype of a table."""
        return np.dtype("float32" if table == PROPERTIES_TABLE else self.dtype)

    def row_bytes(self, table: str) -> int:
        """Return the number of bytes of one row of a table."""
        return math.prod(self.row_shape(table)) * self.row_dtype(table).itemsize

    @property
    def has_own_shards(self) -> bool:
        """Whether the shards are in the folder that belongs to the file's own name.

        The shards of a copy with another name belong to the first file: they are only read.
        """
        return self.shards is not None and self.shards.folder == shards_folder(self.path).name

    def identified(self) -> dict[str, tuple[Stamp, bytes]]:
        """Id -> stamp and digest of every finished image with a known stamp."""
        rows = zip(self.ids, self.stamps, self.digests, self.done.tolist(), strict=True)
        return {
            id_: (stamp, digest)
            for id_, stamp, digest, done in rows
            if done and stamp != UNKNOWN and digest != UNREADABLE
        }

    def is_comparable(self, other: Header) -> bool:
        """Whether rows of the other file, and their variants, may be put into this one."""
        return (
            not self.spec.differences(other.spec)
            and self.spec.augmentation == other.spec.augmentation
            and self.dtype == other.dtype
        )

    def holds(self, manifest: Manifest, names: Iterable[str], spec: Spec) -> bool:
        """Whether the file has space for exactly these images, embeddings and variants."""
        return (
            self.ids == manifest.ids
            and self.digests == manifest.digests
            and set(self.embeddings) == set(names)
            and self.spec.augmentation == spec.augmentation
        )

    def has_all(self, names: Iterable[str], spec: Spec) -> bool:
        """Whether its finished rows have all these embeddings, and the variants."""
        return set(names) <= set(self.embeddings) and self.spec.augmentation == spec.augmentation
