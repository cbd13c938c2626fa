"""Running folds in processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from joblib import Parallel, delayed

from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.model_selection.workers import do_fold, start_worker


class LocalFolds:
    """Runs folds in processes of this machine, all of which read the same X.

    Parameters
    ----------
    rows : TrainingRows
        Rows of the dataset.
    n_jobs : int
        Number of processes. With 1, folds run in this process.
    """

    def __init__(self, rows: TrainingRows, n_jobs: int) -> None:
        self.threads = n_jobs
        self._rows = rows
        self._parallel = Parallel(
            n_jobs=n_jobs,
            return_as="generator",
            initializer=start_worker,
            initargs=(os.getpid(),),
        )

    def __enter__(self) -> LocalFolds:
        self._parallel.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._parallel.__exit__(*details)

    def map(self, calls: Sequence[Sequence[Any]]) -> Iterable[Any]:
        """Return the results of calls (work, task, ...) in order; see `do_fold`."""
        results: Iterable[Any] = self._parallel(
            delayed(do_fold)(self._rows, *call) for call in calls
        )
        return results
