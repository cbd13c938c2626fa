"""Counting finished folds, to report progress."""

from __future__ import annotations

from tlfeatures.progress import Progress


class ProgressCounter:
    """Counts finished folds and parts of folds, and reports the number of whole folds.

    Parameters
    ----------
    total : int
        Number of folds.
    progress : callable of (done, total)
        Called at once, so that a bar appears before the first fold ends, and after every addition.
    """

    def __init__(self, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = 0.0, total, progress
        progress(0, total)

    def add(self, folds: float) -> None:
        """Add a number of finished folds, or a part of a fold such as 0.5."""
        self._done = min(self._done + folds, self._total)
        # Parts of a fold are added as fractions, whose sum may be just below a whole number.
        self._progress(int(self._done + 1e-6), self._total)

    def finish(self) -> None:
        """Report all folds as finished, including folds that needed no work."""
        self.add(self._total)
