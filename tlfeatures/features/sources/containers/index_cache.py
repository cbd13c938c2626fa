"""Keep what was read about files with images inside, until the file changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sized
from typing import Generic, TypeVar

from tlfeatures.features.sources.containers.parts import Parts, Version

Index = TypeVar("Index", bound=Sized)


class IndexCache(Generic[Index]):
    """The indexes of the files that this process read last; threads may share it.

    Parameters
    ----------
    most : int
        Largest sum of the lengths of the indexes; the last one is kept in any case.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Version, Index]] = OrderedDict()

    def get(self, parts: Parts, read: Callable[[Parts], Index]) -> Index:
        """Return the index of a file, which is read if there is none of this version.

        Raises
        ------
        SourceError
            By `read`.
        """
        with self._lock:
            version, index = self._kept.get(parts.location, (None, None))
            if index is None or version != parts.version:
                index = read(parts)
                self._kept[parts.location] = parts.version, index
            self._kept.move_to_end(parts.location)
            while len(self._kept) > 1 and self._count() > self._most:
                self._kept.popitem(last=False)
            return index

    def forget(self, location: str) -> None:
        """Remove the index of a file, which may have changed."""
        with self._lock:
            self._kept.pop(location, None)

    def _count(self) -> int:
        return sum(len(index) for _, index in self._kept.values())
