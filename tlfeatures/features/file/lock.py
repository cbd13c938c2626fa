"""One writer at a time, and the file that an update is written to before it replaces the first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tlfeatures.features.sources.locations import as_store_error
from tlfeatures.files import remove_leftovers
from tlfeatures.locks import locked


def partial_path(path: Path) -> Path:
    """Path of the file that an update is written to; it stays there after an interruption."""
    return path.with_name(f"{path.name}.partial")


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Be the only writer of a file; temporary files of killed writers are removed.

    Raises
    ------
    BusyError
        If another process writes it, see `tlfeatures.locks.locked`.
    StoreError
        If the file can't be locked, or can't be written inside the `with` block.
    """
    with as_store_error(), locked(path):
        for target in (path, partial_path(path)):
            remove_leftovers(target, alone=True)
        yield
