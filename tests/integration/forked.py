"""Command lines in processes of their own, which start in some milliseconds.

A server has imported this package and Dask, once for all tests of a test process; each process is
forked off it. It lives for as long as the test process does.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "pytest",  # the main module of the test process, which each process would import else
        "tests.integration.killed",
        "tests.integration.piped",
        "tlfeatures.cli",
        "tlfeatures.features.cluster.worker",
        "tlfeatures.model_selection.audit",
        "tlfeatures.benchmarking.run",
        "tlfeatures.benchmarking.fit",
        "skops.io",
        "distributed.cli.dask_scheduler",
        "distributed.cli.dask_worker",
    ]
)


_RUNNING: set[Forked] = set()


@atexit.register
def _kill_all() -> None:
    """Kill what a test that failed has left, else its end would be waited for."""
    for process in list(_RUNNING):
        process.kill()


class Forked:
    """A command line in a process of its own, the leader of a process group.

    Parameters
    ----------
    module : str
        Its function `main` is called with the arguments.
    arguments : sequence
    folder : Path
        The process works there. It writes to the files `PID.out` and `PID.err` in it.
    env : dict, optional
        More variables of its environment.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[object],
        folder: Path,
        env: dict[str, str] | None = None,
    ) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self._folder = folder
        self._begin(_run, module, self.arguments, folder, env or {})

    def _begin(self, target: Callable[..., None], *given: object) -> None:
        self._process = CONTEXT.Process(target=target, args=given)
        self._process.start()
        _RUNNING.add(self)

    @property
    def pid(self) -> int:
        """Number of the process and of its group."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def out(self) -> str:
        """What it has written to standard output so far."""
        return self._written("out")

    @property
    def err(self) -> str:
        """What it has written to standard error so far."""
        return self._written("err")

    def _written(self, kind: str) -> str:
        path = self._folder / f"{self.pid}.{kind}"
        return path.read_text() if path.exists() else ""

    def poll(self) -> int | None:
        """Give its exit code, or None while it runs."""
        return self._process.exitcode

    def wait(self) -> int:
        """Wait for its end, and give its exit code."""
        self._process.join()
        _RUNNING.discard(self)
        assert self._process.exitcode is not None
        return self._process.exitcode

    def kill(self) -> int:
        """Kill -9 it and all that it started; give the exit code, as it may have ended by itself.

        Before it has become the leader of its group there is no such group, and it has started
        nothing.
        """
        self._process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.wait()


def _run(module: str, arguments: list[str], folder: Path, env: dict[str, str]) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.update(env)
    for name, number in (("out", 1), ("err", 2)):
        opened = os.open(f"{os.getpid()}.{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    if "distributed" in sys.modules:
        importlib.import_module("dask.config").refresh()  # it read the variables of the server
    importlib.import_module(module).main(arguments)
