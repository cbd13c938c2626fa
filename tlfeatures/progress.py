"""Progress in Python: a bar where a person watches, a callable, or nothing.

A person watches a notebook, and an interactive interpreter with a terminal. A script draws nothing
unless it asks for it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from tlfeatures.errors import ParameterError
from tlfeatures.installed import check_installed, is_installed

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the numbers of finished and of all steps; 0 if there is no number of all steps."""


@contextmanager
def shown_progress(progress: bool | Progress | None, label: str, unit: str) -> Iterator[Progress]:
    """Yield a function that reports progress, and close its bar in the end.

    Parameters
    ----------
    progress : bool or callable of (done, total), or None
        None draws a bar where a person watches. True always draws a bar, and False none. A callable
        is given as it is.
    label : str
        What is done, as in "embedding".
    unit : str
        What is counted, as in "images".

    Raises
    ------
    ParameterError
        If it is something else, or a bar is requested and tqdm is not installed.
    """
    if callable(progress):
        yield progress
        return
    if progress is not None and not isinstance(progress, bool):
        raise ParameterError(
            f"progress is {progress!r}; expected True, False, None or a function of (done, total)"
        )
    if progress:
        otherwise = "give a function of (done, total)"
        check_installed("tqdm", "progress=True", "notebook", otherwise)
    elif progress is not None or not _is_watched():
        yield no_progress
        return
    bar = _Bar(label, unit)
    try:
        yield bar.show
    finally:
        bar.close()


def no_progress(done: int, total: int) -> None:
    """Report nothing."""


def _is_watched() -> bool:
    if not is_installed("tqdm") or sys.stderr is None:
        return False
    return _in_notebook() or (hasattr(sys, "ps1") and sys.stderr.isatty())


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class _Bar:
    """A bar of tqdm, which appears when the first step is reported."""

    def __init__(self, label: str, unit: str) -> None:
        self._label, self._unit = label, unit
        self._bar: Any = None

    def show(self, done: int, total: int) -> None:
        """Update the bar."""
        if self._bar is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # tqdm warns if ipywidgets isn't installed
                from tqdm.auto import tqdm

                self._bar = tqdm(total=total or None, desc=self._label, unit=f" {self._unit}")
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
