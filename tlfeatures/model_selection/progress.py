"""Progress of work on folds."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]  # of the number done and the total


class ProgressCounter:
    """Adds up finished folds, which may be finished in parts, and reports whole folds.

    Parameters
    ----------
    total : int
        Number of folds.
    progress : callable of (done, total), or None
        Called after every addition.
    """

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0.0, total, progress

    def add(self, folds: float) -> None:
        """Add finished folds."""
        self._done = min(self._done + folds, self._total)
        if self._progress is not None:
            # Parts of a fold are added as fractions, whose sum may be just below a whole number.
            self._progress(int(self._done + 1e-6), self._total)

    def finish(self) -> None:
        """Count all folds as finished, also those that needed no work."""
        self.add(self._total)
