"""Warnings that are raised while a head is fitted, as lines that name the head.

`warnings.catch_warnings` changes the whole process. A worker of a cluster fits several folds at
once, each in a thread of its own: one fold would get the warnings of another, or lose its own. So
the first fold that begins changes the process, and the last one that ends changes it back. In
between, each thread has a list of its own.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

logger = logging.getLogger(__name__)

# For the authors of libraries: Python doesn't show them to users, either.
_FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)

_NUMBER = re.compile(r"\d[\d.,]*(e[+-]?\d+)?")

_lock = threading.Lock()
_lists: dict[int, list[str]] = {}  # by thread
_changed = ExitStack()


@contextmanager
def collected(name: str) -> Iterator[list[str]]:
    """Collect the warnings that this thread raises, each once.

    Parameters
    ----------
    name : str
        Name of the head, with which each line begins.

    Yields
    ------
    list of str
        Empty at first; filled at the end with one line for each warning, sorted.
    """
    said: list[str] = []
    own: list[str] = []
    thread = threading.get_ident()
    with _lock:
        outer = _lists.get(thread)
        if not _lists:
            _take_over()
        _lists[thread] = own
    try:
        yield said
    finally:
        with _lock:
            if outer is None:
                del _lists[thread]
            else:
                _lists[thread] = outer
            if not _lists:
                _changed.close()
        said += [f"{name}: {text}" for text in sorted(unlike(own))]


def _take_over() -> None:
    _changed.enter_context(warnings.catch_warnings())
    warnings.simplefilter("always")
    for category in _FOR_DEVELOPERS:
        warnings.simplefilter("ignore", category)
    shown = warnings.showwarning

    def keep(message: Any, category: Any, *where: Any, **more: Any) -> None:
        own = _lists.get(threading.get_ident())
        if own is None:  # of a thread that fits nothing
            shown(message, category, *where, **more)
        else:
            own.append(_first_line(str(message)))

    warnings.showwarning = keep


def _first_line(text: str) -> str:
    """Give the first line: the others of scikit-learn's are advice and addresses."""
    with contextlib.suppress(StopIteration):
        return next(line for line in text.splitlines() if line.strip()).strip().rstrip(":.")
    return "a warning without a text"


def unlike(texts: Iterable[str], said: set[str] | None = None) -> list[str]:
    """Give one text of those that differ in numbers alone, as of several folds.

    Parameters
    ----------
    texts : iterable of str
    said : set of str, optional
        What was said before, and is left out; what is given is added.
    """
    said = set() if said is None else said
    found = []
    for text in texts:
        kind = _NUMBER.sub("0", text)
        if kind not in said:
            said.add(kind)
            found.append(text)
    return found


class Notices:
    """Logs warnings as they come in, and each of them once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def log(self, texts: Iterable[str]) -> None:
        """Log those lines of `collected` that were not logged yet."""
        for text in unlike(sorted(texts), self._said):
            logger.warning("%s", text)
