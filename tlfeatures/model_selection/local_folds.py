"""Running folds in processes of this machine."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs

from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.model_selection.workers import do_fold, import_fold_work, start_worker


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
        self._parallel = _processes(n_jobs)

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


@contextmanager
def starting_processes(n_jobs: int | None) -> Iterator[None]:
    """Start the processes of `LocalFolds` while this process does something else.

    A new process imports scikit-learn, which takes a second or more. At the end, all have done so.
    After an error, the processes are ended, so that nobody waits for them.

    Parameters
    ----------
    n_jobs : int or None
        Number of processes, see `Trainer`. With 1, none is started.
    """
    count = effective_n_jobs(n_jobs or 1)
    if count == 1:
        yield
        return
    with _processes(count) as parallel:
        started = parallel(delayed(import_fold_work)() for _ in range(count))
        try:
            yield
            list(started)
        finally:
            with warnings.catch_warnings(action="ignore"):  # of results that nobody reads
                started.close()


def _processes(n_jobs: int) -> Parallel:
    # joblib keeps the processes, and uses them again if the arguments are the same.
    return Parallel(
        n_jobs=n_jobs,
        return_as="generator",
        initializer=start_worker,
        initargs=(os.getpid(),),
    )
