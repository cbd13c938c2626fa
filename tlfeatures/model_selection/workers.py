"""Functions that run in the processes that fit folds, on this machine or on a cluster's workers.

This module imports few others at its top, so that a new process quickly ignores Ctrl-C and starts
to check that its parent is alive.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from joblib import parallel_config

from tlfeatures.errors import ClusterError, ParameterError
from tlfeatures.files import is_alive
from tlfeatures.threads import one_thread

if TYPE_CHECKING:
    from tlfeatures.dataset.training_rows import TrainingRows
    from tlfeatures.model_selection.fold_work import Task

_POLL_SECONDS = 1.0  # time between two checks that the parent is alive


def start_worker(parent: int) -> None:
    """Prepare a new process that fits folds.

    The process ignores Ctrl-C, because its parent handles Ctrl-C. The process ends silently when
    its parent ends.

    Parameters
    ----------
    parent : int
        Process id of the parent, which started this process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name != "nt":  # on Windows, the number of the parent stays when the parent ends
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    # With a fork server, the server is the parent according to the system, not the process that
    # requested this one.
    direct = os.getppid() == parent
    while os.getppid() == parent if direct else is_alive(parent):
        time.sleep(_POLL_SECONDS)
    os._exit(1)


def import_fold_work() -> None:
    """Import what a fold needs, before the first fold arrives."""
    import_module("tlfeatures.model_selection.fold_work")


def do_fold(rows: TrainingRows, work: Callable[..., Any], task: Task, *shared: Any) -> Any:
    """Return what `work` returns for a task, or its ParameterError."""
    try:
        return work(task, rows, *shared)
    except ParameterError as error:
        return error


def do_packed_fold(numbered: tuple[int, bytes], arrays: dict[str, Any]) -> Any:
    """Run a fold on a worker of a cluster.

    Parameters
    ----------
    numbered : (int, bytes)
        Number of the fold, and the pickled arguments of `do_fold` after the rows.
    arrays : dict of name to array
        Attributes of the `TrainingRows`.

    Returns
    -------
    The result of the fold, or the error that it raised.

    Raises
    ------
    ClusterError
        If this worker lacks a module that the arguments need.
    """
    from tlfeatures.dataset.training_rows import TrainingRows

    try:
        rows = TrainingRows(**arrays)
        call = pickle.loads(numbered[1])
    except (ImportError, AttributeError, TypeError) as error:
        raise ClusterError(
            f"a worker can't load a fold ({error}); install the modules of your heads, and the "
            "same version of each package, on all machines"
        ) from error
    try:
        # Otherwise heads that use joblib would start more processes on the worker.
        with one_thread(), parallel_config("sequential"):
            return do_fold(rows, *call)
    except Exception as error:
        return _picklable(error)


def _picklable(error: Exception) -> Exception:
    """Return the error, or a RuntimeError with its text if the error can't be pickled.

    With an error that can't be pickled, Dask would wait for ever.
    """
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
