"""Pickles read as data.

Attack: a pickle names any function of any module, and unpickling calls it. Invariant: a name that
isn't in the caller's list is refused when it is met, before anything was called; what the names of
the list stand for are texts, and objects of this package without attributes that a pickle could
replace. Besides, recipes check the hash of a file before they read it.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any

from tlfeatures.errors import WeightsError

Names = Mapping[tuple[str, str], Any]  # (module, name) -> what stands for it


class DataUnpickler(pickle.Unpickler):
    """Reads pickles one after another, which may name what is listed and nothing else.

    Parameters
    ----------
    content : bytes
    names : dict of (module, name) to the object that stands for it
    origin : str
        Name of the file, for messages.
    storage : callable, optional
        Makes an object of a persistent id; without it, a persistent id is refused.
    """

    def __init__(
        self,
        content: bytes,
        names: Names,
        origin: str,
        storage: Callable[[Any], Any] | None = None,
    ) -> None:
        self._file = io.BytesIO(content)
        super().__init__(self._file)
        self._names, self._origin, self._storage = names, origin, storage

    def find_class(self, module: str, name: str) -> Any:
        """Give what stands for a name; called by `load`."""
        if (module, name) not in self._names:
            raise WeightsError(
                f"{self._origin} is refused: it is a pickle that names {module[:60]!r} "
                f"{name[:60]!r}, expected arrays alone"
            )
        return self._names[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Give the object of a persistent id; called by `load`."""
        if self._storage is None:
            raise ValueError("it has persistent ids")
        return self._storage(pid)

    def read(self) -> Any:
        """Read the next pickle.

        Raises
        ------
        WeightsError
            If it names something else, or is damaged.
        """
        try:
            return self.load()
        except WeightsError:
            raise
        except Exception as error:  # a damaged pickle raises errors of any class
            raise damaged(self._origin, error) from error

    def rest(self) -> bytes:
        """Read the bytes after the last pickle that was read."""
        return self._file.read()


def damaged(origin: str, reason: object) -> WeightsError:
    """Return the error of a file that can't be read."""
    text = " ".join(str(reason).split())[:120] or type(reason).__name__
    return WeightsError(f"{origin} is not the expected file of weights, or damaged: {text}")


def whole_numbers(value: Any, kind: str) -> tuple[int, ...]:
    """Check a tuple of up to 8 whole numbers of 0 or more; raises `ValueError`."""
    if type(value) is not tuple or len(value) > 8:
        raise ValueError(f"{kind} is not a short tuple")
    if any(type(item) is not int or item < 0 for item in value):
        raise ValueError(f"{kind} has other values than whole numbers of 0 or more")
    return value
