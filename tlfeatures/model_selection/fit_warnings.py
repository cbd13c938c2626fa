"""Warnings of fits, as lines that begin with the name of the head.

`warnings.catch_warnings` changes the whole process. A worker of a cluster fits several folds at
once, each in its own thread, so one fold would get the warnings of another fold, or lose its own.
Therefore the first fold that begins changes the process, and the last one that ends restores it. In
between, every thread has its own list.
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

# These are for authors of libraries; Python doesn't show them to users either.
_FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)

_NUMBER = re.compile(r"\d[\d.,]*(e[+-]?\d+)?")

_lock = threading.Lock()
_lists: dict[int, list[str]] = {}  # by thread
_restore = ExitStack()


@contextmanager
def collected(name: str) -> Iterator[list[str]]:
    """Collect the warnings that this thread raises, without repetitions.

    Parameters
    ----------
    name : str
        Name of the head; every line begins with it.

    Yields
    ------
    list of str
        Filled at the end with one line for each warning, sorted.
    """
    lines: list[str] = []
    own: list[str] = []
    thread = threading.get_ident()
    with _lock:
        outer = _lists.get(thread)
        if not _lists:
            _redirect_warnings()
        _lists[thread] = own
    try:
        yield lines
    finally:
        with _lock:
            if outer is None:
                del _lists[thread]
            else:
                _lists[thread] = outer
            if not _lists:
                _restore.close()
        lines += [f"{name}: {text}" for text in sorted(distinct(own))]


def _redirect_warnings() -> None:
    _restore.enter_context(warnings.catch_warnings())
    warnings.simplefilter("always")
    for category in _FOR_DEVELOPERS:
        warnings.simplefilter("ignore", category)
    shown = warnings.showwarning

    def keep(message: Any, category: Any, *where: Any, **more: Any) -> None:
        own = _lists.get(threading.get_ident())
        if own is None:  # this thread fits nothing
            shown(message, category, *where, **more)
        else:
            own.append(_first_line(str(message)))

    warnings.showwarning = keep


def _first_line(text: str) -> str:
    """Return the first line; further lines of scikit-learn's warnings are advice and links."""
    with contextlib.suppress(StopIteration):
        return next(line for line in text.splitlines() if line.strip()).strip().rstrip(":.")
    return "a warning without a text"


def distinct(texts: Iterable[str], seen: set[str] | None = None) -> list[str]:
    """Return one of all texts that differ in numbers only, as those of several folds do.

    Parameters
    ----------
    texts : iterable of str
    seen : set of str, optional
        Texts, without their numbers, that are left out; the returned ones are added to it.
    """
    seen = set() if seen is None else seen
    chosen = []
    for text in texts:
        without_numbers = _NUMBER.sub("0", text)
        if without_numbers not in seen:
            seen.add(without_numbers)
            chosen.append(text)
    return chosen


class Notices:
    """Logs warnings of fits, without repetitions."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def log(self, texts: Iterable[str]) -> None:
        """Log those lines of `collected` that were not logged before."""
        for text in distinct(sorted(texts), self._seen):
            logger.warning("%s", text)
