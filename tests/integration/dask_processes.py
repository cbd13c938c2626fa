"""A scheduler and workers of Dask: real processes on loopback, to be killed at will."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tlfeatures.cluster import TLS

ROOT = Path(__file__).parents[2]  # workers import this package, and functions of the tests
PATIENCE = 60.0  # seconds until a process that says nothing is taken for broken

Process = subprocess.Popen[bytes]


class DaskProcesses:
    """A scheduler, and as many workers as are started; all are killed at the end.

    Each is the leader of a process group of its own, so that a nanny goes with its worker.

    Parameters
    ----------
    folder : Path
        Gets their logs, and what the workers spill.
    tls : TLS, optional
        Certificates of all of them.
    """

    def __init__(self, folder: Path, tls: TLS | None = None) -> None:
        self._folder = folder
        self._tls = tls
        self._processes: list[Process] = []

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self.start_scheduler()
        except BaseException:
            self._kill_all()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kill_all()

    def start_scheduler(self, port: int = 0) -> None:
        """Start it, and wait until it listens; at any free port, or at the one it had before."""
        protocol = "tcp" if self._tls is None else "tls"
        where = ["--host", "127.0.0.1", "--port", str(port), "--protocol", protocol]
        self._scheduler = self._start("scheduler", *where)
        self.address = self._said(self._scheduler, r"Scheduler at:\s+(\S+)")

    def start_worker(self, *options: str, env: dict[str, str] | None = None) -> Process:
        """Start a worker of one thread, and wait until the scheduler knows it."""
        usual = [self.address, "--host", "127.0.0.1", "--local-directory", str(self._folder)]
        worker = self._start("worker", *usual, "--nthreads", "1", *options, env=env)
        self._said(worker, r"Registered to:\s+(\S+)")
        return worker

    def kill(self, process: Process) -> None:
        """Kill -9 a worker or the scheduler, and all that it started."""
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._processes.remove(process)

    def kill_scheduler(self) -> None:
        """Kill -9 the scheduler."""
        self.kill(self._scheduler)

    def log(self, process: Process) -> str:
        """All that a process has said."""
        return self._log(process).read_text()

    def _start(self, what: str, *options: str, env: dict[str, str] | None = None) -> Process:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard"]
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        given = os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | (env or {})
        unnamed = self._folder / f"{what}.starting"
        with unnamed.open("wb") as log:
            process = subprocess.Popen(
                [*command, *self._certificates(), *options],
                cwd=self._folder,
                env=given,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        unnamed.rename(self._log(process))
        return process

    def _certificates(self) -> list[str]:
        if self._tls is None:
            return []
        tls = self._tls
        files = {"--tls-ca-file": tls.ca_file, "--tls-cert": tls.cert, "--tls-key": tls.key}
        return [str(part) for pair in files.items() for part in pair]

    def _log(self, process: Process) -> Path:
        return self._folder / f"{process.pid}.log"

    def _said(self, process: Process, pattern: str) -> str:
        """Wait until a process says this."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and process.poll() is None:
            found = re.search(pattern, self.log(process))
            if found:
                return found[1]
            time.sleep(0.02)
        raise RuntimeError(f"{process.args} didn't say {pattern!r}:\n{self.log(process)}")

    def _kill_all(self) -> None:
        for process in list(self._processes):
            self.kill(process)
