"""Read images in the rows of a Parquet file, some megabytes at a time."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter
from typing import Any

from tlfeatures.errors import ImageError, ParameterError, SourceError
from tlfeatures.features.sources.containers.index_cache import IndexCache
from tlfeatures.features.sources.containers.parts import Parts, PartsStream, open_parts
from tlfeatures.features.sources.locations import is_url
from tlfeatures.installed import check_installed

_BATCH = 8 * 2**20  # bytes that are read at once; a row group may have gigabytes
_KEPT = 64 * 2**20  # bytes of rows that are kept, as threads read rows near each other
_STREAMS = 3  # that are open: threads are at neighbouring places
_BUFFER = 2**20


def open_parquet(parts: Parts) -> Any:
    """Open a Parquet file by pyarrow.

    Returns
    -------
    pyarrow.parquet.ParquetFile

    Raises
    ------
    ParameterError
        If pyarrow is not installed.
    SourceError
        If it is no Parquet file, or is damaged.
    """
    check_installed("pyarrow", parts.location, "parquet")
    from pyarrow import PythonFile
    from pyarrow.parquet import ParquetFile

    remote = is_url(parts.location)
    try:
        file = ParquetFile(
            PythonFile(PartsStream(parts, _BUFFER, parts.size)) if remote else parts.location,
            pre_buffer=False,
            buffer_size=_BUFFER,
            page_checksum_verification=True,
        )
    except Exception as error:  # pyarrow has several kinds of errors for damaged files
        raise SourceError(
            f"{parts.location} can't be read as a Parquet file: {one_line(error)}; if it is cut "
            "off, copy or download it again"
        ) from error
    _check_counts(parts, file.metadata)
    return file


def _check_counts(parts: Parts, facts: Any) -> None:
    """Refuse numbers of rows that can't be right: pyarrow would fill the memory."""
    counts = [int(facts.row_group(at).num_rows) for at in range(facts.num_row_groups)]
    if min(counts, default=0) < 0 or sum(counts) != facts.num_rows:
        raise SourceError(
            f"{parts.location} is damaged: it says that it has {facts.num_rows:,} rows, and "
            f"{sum(counts):,} in {len(counts):,} groups"
        )


def image_leaves(schema: Any) -> dict[str, tuple[str, str | None]]:
    """Return the columns with bytes: name -> where the bytes are, and the path, if any."""
    from pyarrow import types

    def is_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    leaves: dict[str, tuple[str, str | None]] = {}
    for field in schema:
        if is_bytes(field.type):
            leaves[field.name] = field.name, None
        elif types.is_struct(field.type):
            inner = [field.type.field(at) for at in range(field.type.num_fields)]
            fields = {part.name: part.type for part in inner}
            if "bytes" in fields and is_bytes(fields["bytes"]):
                path = f"{field.name}.path" if "path" in fields else None
                leaves[field.name] = f"{field.name}.bytes", path
    return leaves


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


@dataclass
class _Stream:
    """The batches of a row group, and the number of the one that follows."""

    group: int
    batches: Iterator[Any]
    following: int = 0

    def is_before(self, group: int, number: int) -> bool:
        """Whether a batch is still to come."""
        return self.group == group and self.following <= number


class _Rows:
    """An open Parquet file, and the rows of one column that were read last."""

    def __init__(self, parts: Parts, column: str) -> None:
        self._file, self._column = open_parquet(parts), column
        # The facts of a column are left alone: pyarrow ends the process where those are damaged.
        facts = self._file.metadata
        groups = [facts.row_group(at) for at in range(facts.num_row_groups)]
        counts = [int(group.num_rows) for group in groups]
        self._ends = list(accumulate(counts))
        self._batch_rows = [
            max(1, -(-count // max(1, -(-int(group.total_byte_size) // _BATCH))))
            for group, count in zip(groups, counts, strict=True)
        ]
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._streams: list[_Stream] = []
        self._damaged: dict[int, tuple[int, str]] = {}  # row group -> first batch, reason

    def __len__(self) -> int:
        return 1

    def read(self, row: int) -> bytes:
        """Read one row; threads may call this at the same time."""
        if not 0 <= row < (self._ends[-1] if self._ends else 0):
            raise ImageError("its row is no longer in the file; run the command again")
        group = bisect_right(self._ends, row)
        within = row - (self._ends[group - 1] if group else 0)
        number, place = divmod(within, self._batch_rows[group])
        with self._lock:
            batch = self._batch(group, number)
        if place >= len(batch):
            raise ImageError("its row is missing in the file")
        value = batch[place].as_py()
        if isinstance(value, dict):
            value = value.get("bytes")
        if not value:
            raise ImageError("its row has no bytes of an image")
        return bytes(value)

    def _batch(self, group: int, number: int) -> Any:
        """Return some consecutive rows of a row group, as a pyarrow array."""
        if (group, number) not in self._kept:
            first, reason = self._damaged.get(group, (number + 1, ""))
            if first <= number:
                raise ImageError(reason)
            self._read_up_to(group, number)
        self._kept.move_to_end((group, number))
        return self._kept[group, number]

    def _read_up_to(self, group: int, number: int) -> None:
        """Go on with the stream that is nearest before a batch, else from the group's beginning."""
        before = [stream for stream in self._streams if stream.is_before(group, number)]
        stream = max(before, key=attrgetter("following"), default=None)
        if stream is None:
            stream = _Stream(group, self._stream(group))
        else:
            self._streams.remove(stream)
        while stream.following <= number:
            try:
                self._kept[group, stream.following] = next(stream.batches).column(0)
            except Exception as error:  # pyarrow has several kinds of errors for damaged files
                reason = f"its part of the Parquet file is damaged: {one_line(error)}"
                self._damaged[group] = stream.following, reason
                raise ImageError(reason) from error
            stream.following += 1
            while len(self._kept) > 1 and sum(rows.nbytes for rows in self._kept.values()) > _KEPT:
                self._kept.popitem(last=False)
        self._streams = [*self._streams, stream][-_STREAMS:]

    def _stream(self, group: int) -> Iterator[Any]:
        batches: Iterator[Any] = self._file.iter_batches(
            batch_size=self._batch_rows[group],
            row_groups=[group],
            columns=[self._column],
            use_threads=False,
        )
        return batches


_CACHE: IndexCache[_Rows] = IndexCache(most=2)


def forget(location: str) -> None:
    """Close a file at a URL, as not every server says whether it has changed."""
    if is_url(location):
        _CACHE.forget(location)


@dataclass(frozen=True)
class ParquetImages:
    """A container; see `tlfeatures.features.sources.records.Container`.

    Attributes
    ----------
    path : str
        Path or URL of the Parquet file.
    column : str
        The column with the bytes of images, as in `image.bytes`. Images are named by the number of
        their row.
    """

    path: str
    column: str

    def read(self, name: str) -> bytes:
        """Read the image in a row; see `Container.read`."""
        try:
            with open_parts(self.path) as parts:
                rows = _CACHE.get(parts, self.column, lambda parts: _Rows(parts, self.column))
            return rows.read(int(name))
        except ImageError:
            raise
        except (SourceError, ParameterError) as error:
            raise ImageError(str(error)) from error
