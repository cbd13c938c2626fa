"""The file of near-duplicates next to an embeddings file. This docstring specifies it, version 1.

`FILE.h5.near-duplicates` saves the search for near-duplicates among the images of `FILE.h5`. It can
be deleted at any time: the next command that needs it searches again. It consists of a header and
of arrays, one after the other, without gaps. The header is one line of JSON that ends in a line
feed, with at most 16 MiB:

==================  ================================================================================
``format``          "tlfeatures near-duplicates"
``format_version``  1
``embedding``       name of the embedding that was searched
``spec``            its spec, see `comparable_spec`
``least``           smallest similarity of near-duplicates
``thinned``         whether the pairs are those of a maximum spanning forest, see
                    `tlfeatures.dataset.pair_list.PairList`
``rows``            n, the number of embedded images
``pairs``           p, the number of pairs
``sha256``          hexadecimal sha256 of all bytes after the header
==================  ================================================================================

The arrays have little-endian values in C order:

=============  ================  ===================================================================
``digests``    (n, 32) uint8     sha256 of each image file
``checksums``  (n,) uint32       CRC-32 of each row of the embedding as it is stored
``scales``     (n,) float32      scale of each image (`tlfeatures.dataset.scales`)
``radii``      (n,) float32      radius of each image: the pairs contain every pair of images whose
                                 distance is at most the smaller one of their radii
``i``, ``j``   (p,) int32        the images of each pair, i < j, in ascending order of i, then of j
``distances``  (p,) float32      distance of each pair
=============  ================  ===================================================================

A reader compares the size of the file, the sha256, the embedding and the spec, and all values with
their ranges. It never trusts a file that fails one of these checks. A file is written under a
temporary name and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.pair_list import MOST_PAIRS
from tlfeatures.dataset.pair_search import NearPairs
from tlfeatures.errors import FormatError
from tlfeatures.features.spec import Spec
from tlfeatures.files import replacing, resolved

FORMAT = "tlfeatures near-duplicates"
FORMAT_VERSION = 1
_HEADER_BYTES = 2**24
_MOST_TIMES = 10  # of the number of images
_ARRAYS = (
    ("digests", "u1", 32, "rows"),
    ("checksums", "<u4", 1, "rows"),
    ("scales", "<f4", 1, "rows"),
    ("radii", "<f4", 1, "rows"),
    ("i", "<i4", 1, "pairs"),
    ("j", "<i4", 1, "pairs"),
    ("distances", "<f4", 1, "pairs"),
)


@dataclass(frozen=True)
class StoredPairs:
    """Pairs of an embeddings file, with what they were computed from.

    Attributes
    ----------
    embedding : str
        Name of the embedding.
    spec : dict
        The result of `comparable_spec`.
    digests : ndarray of shape (n, 32), uint8
        sha256 of each image file.
    checksums : ndarray of shape (n,), uint32
        CRC-32 of each row.
    scales, radii : ndarray of shape (n,), float32
        The pairs contain every pair whose distance is at most the smaller radius.
    pairs : NearPairs
    least : float
        Smallest similarity of near-duplicates.
    thinned : bool
        Whether the pairs are those of a forest.
    """

    embedding: str
    spec: dict[str, Any]
    digests: NDArray[np.uint8]
    checksums: NDArray[np.uint32]
    scales: NDArray[np.float32]
    radii: NDArray[np.float32]
    pairs: NearPairs
    least: float
    thinned: bool

    def has_rows(self, digests: NDArray[np.uint8], checksums: NDArray[np.uint32]) -> bool:
        """Whether it was computed from exactly these rows, in this order."""
        return np.array_equal(self.checksums, checksums) and np.array_equal(self.digests, digests)


def path_beside(file: str | os.PathLike[str]) -> Path:
    """Return the path of the near-duplicates of an embeddings file."""
    path = resolved(file)
    return path.with_name(f"{path.name}.near-duplicates")


def comparable_spec(spec: Spec) -> Any:
    """Return what makes rows comparable, as JSON gives it back.

    Variants of the images don't matter. Of imported rows, only the kind is kept: the digests and
    checksums say which rows they are.
    """
    if spec.imported is not None:
        return {"imported": spec.imported.digests}
    return json.loads(json.dumps(replace(spec, augmentation=None).to_dict()))


def write_pairs(path: Path, stored: StoredPairs) -> None:
    """Write the file; what was there is replaced as a whole.

    Raises
    ------
    OutputError
        If it can't be written. What was there stays.
    """
    values = {**vars(stored), **stored.pairs._asdict(), "distances": stored.pairs.distance}
    content = b"".join(
        np.ascontiguousarray(values[name], dtype).tobytes() for name, dtype, _, _ in _ARRAYS
    )
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "embedding": stored.embedding,
        "spec": stored.spec,
        "least": stored.least,
        "thinned": stored.thinned,
        "rows": len(stored.digests),
        "pairs": len(stored.pairs.i),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    with replacing(path) as fresh, fresh.open("wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        file.write(content)


def read_pairs(path: Path, embedding: str, spec: Spec, images: int) -> StoredPairs | None:
    """Read the near-duplicates of an embedding; None if there is no file.

    Nothing in the file is executed, and no more memory is used than the file has bytes.

    Parameters
    ----------
    path : Path
    embedding : str
        Name of the embedding.
    spec : Spec
        Spec of the embeddings file.
    images : int
        Number of its embedded images. A file of many more images is of no use.

    Raises
    ------
    FormatError
        If the file is of another embedding, has another version, is damaged or can't be read.
    """
    if not path.exists():
        return None
    if not path.is_file():  # a pipe would be waited for
        raise FormatError("it is no regular file")
    try:
        with path.open("rb") as file:
            line = file.readline(_HEADER_BYTES)
            header = _checked_header(line, embedding, spec)
            _check_counts(header, images)
            size = os.fstat(file.fileno()).st_size - len(line)
            if size != _content_bytes(header):
                raise FormatError(f"it has {size:,} bytes of values, but promises another number")
            content = file.read(size)
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"it can't be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != header["sha256"]:
        raise FormatError("its values are damaged")
    return _checked_values(header, _split(header, content))


def _checked_header(line: bytes, embedding: str, spec: Spec) -> dict[str, Any]:
    header = json.loads(line)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise FormatError("it is another kind of file")
    if header.get("format_version") != FORMAT_VERSION:
        raise FormatError(f"it has format version {header.get('format_version')!r}")
    types = {"least": float, "thinned": bool, "rows": int, "pairs": int, "sha256": str}
    wrong = [name for name, kind in types.items() if type(header.get(name)) is not kind]
    if wrong:
        raise FormatError(f"its header has no valid {', '.join(wrong)}")
    if not 0 < header["least"] <= 1:
        raise FormatError("its header has a similarity out of range")
    if header.get("embedding") != embedding or header.get("spec") != comparable_spec(spec):
        raise FormatError("it belongs to other embeddings")
    return header


def _check_counts(header: dict[str, Any], images: int) -> None:
    """Refuse a file that would need much more memory than one of these images."""
    rows, pairs = header["rows"], header["pairs"]
    if not 0 <= rows <= _MOST_TIMES * images or not 0 <= pairs <= max(MOST_PAIRS, rows):
        raise FormatError(f"it has {rows:,} rows and {pairs:,} pairs, for {images:,} images")


def _content_bytes(header: dict[str, Any]) -> int:
    return sum(np.dtype(dtype).itemsize * width * header[of] for _, dtype, width, of in _ARRAYS)


def _split(header: dict[str, Any], content: bytes) -> dict[str, NDArray[Any]]:
    arrays, start = {}, 0
    for name, dtype, width, of in _ARRAYS:
        values = np.frombuffer(content, dtype, width * header[of], start)
        start += values.nbytes
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        arrays[name] = values.reshape(-1, width) if width > 1 else values
    return arrays


def _checked_values(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> StoredPairs:
    i, j = arrays["i"].astype(np.int64), arrays["j"].astype(np.int64)
    if len(i) and not (i.min() >= 0 and (i < j).all() and j.max() < header["rows"]):
        raise FormatError("its pairs have row numbers out of range")
    if not (np.diff(i * header["rows"] + j) > 0).all():
        raise FormatError("its pairs are not in order")
    for name in ("scales", "radii", "distances"):
        if not (np.isfinite(arrays[name]) & (arrays[name] >= 0)).all():
            raise FormatError(f"its {name} are not all finite and positive")
    return StoredPairs(
        embedding=header["embedding"],
        spec=header["spec"],
        digests=arrays["digests"],
        checksums=arrays["checksums"],
        scales=arrays["scales"],
        radii=arrays["radii"],
        pairs=NearPairs(i, j, arrays["distances"]),
        least=header["least"],
        thinned=header["thinned"],
    )
