"""Collecting the warnings of fits, as lines that begin with the name of the head.

`warnings.catch_warnings` changes the whole process. A worker of a cluster fits several folds at
the same time in several threads, so one fold could get the warnings of another fold, or lose its
own. Therefore the first fold that begins redirects all warnings of the process, and the last fold
that ends restores them. In between, each thread has its own list of warnings.
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

# These warnings are for authors of libraries. Python does not show them to users either.
_FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)

_NUMBER = re.compile(r"\d[\d.,]*(e[+-]?\d+)?")

_lock = threading.Lock()
_lists: dict[int, list[str]] = {}  # number of a thread to its warnings
_restore = ExitStack()


@contextmanager
def collected(name: str) -> Iterator[list[str]]:
    """Collect the warnings that this thread raises, without repetitions.

    Parameters
    ----------
    name : str
        Name of the head. Every line begins with this name.

    Yields
    ------
    list of str
        Sorted lines, one for each warning. They are added when the context ends.
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
    """Return the first line. The other lines of scikit-learn's warnings are advice and links."""
    with contextlib.suppress(StopIteration):
        return next(line for line in text.splitlines() if line.strip()).strip().rstrip(":.")
    return "a warning without a text"


def distinct(texts: Iterable[str], seen: set[str] | None = None) -> list[str]:
    """Return texts without repetitions. Texts that differ only in numbers count as repetitions.

    Several folds often give the same warning with other numbers.

    Parameters
    ----------
    texts : iterable of str
    seen : set of str, optional
        Earlier texts, with their numbers replaced. They are left out, and the returned texts are
        added to this set.

    Returns
    -------
    list of str
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
    """Logs warnings of fits and remembers them, so that no warning is logged twice."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def log(self, texts: Iterable[str]) -> None:
        """Log the lines that were not logged before; see `collected`."""
        for text in distinct(sorted(texts), self._seen):
            logger.warning("%s", text)
