"""Programs in processes of their own, as `python -c` runs them, which start in some milliseconds.

Each is forked off the server of `tests.integration.forked`, which has imported what it needs. Where
a test is about how Python starts or ends, it starts Python itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from threading import Timer

from tests.integration.forked import CONTEXT, Forked

COMMAND = """
import sys
from tlfeatures.cli import main
main(sys.argv[1:])
"""


class Program(Forked):
    """A program in a process of its own, the leader of a process group.

    Its standard streams are pipes; `stdin`, `stdout` and `stderr` are the ends here, of bytes and
    without a buffer.

    Parameters
    ----------
    text : str
        What it executes; `sys.argv` has the arguments behind a first item.
    arguments : object
    """

    def __init__(self, text: str, *arguments: object) -> None:
        self.arguments = [str(argument) for argument in arguments]
        (stdin, ours), (out, stdout), (err, stderr) = (CONTEXT.Pipe(duplex=False) for _ in "012")
        theirs = (stdin, stdout, stderr)
        self._begin(_run, text, self.arguments, theirs)
        for end in theirs:
            end.close()
        self.stdin = os.fdopen(os.dup(ours.fileno()), "wb", 0)
        self.stdout = os.fdopen(os.dup(out.fileno()), "rb", 0)
        self.stderr = os.fdopen(os.dup(err.fileno()), "rb", 0)
        for end in (ours, out, err):
            end.close()

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    @property
    def returncode(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self.poll()

    def communicate(self, said: bytes = b"", timeout: float = 120) -> tuple[bytes, bytes]:
        """Say something to it, and wait for its end; give what else it has said.

        It is killed if it has not ended after so many seconds.
        """
        timer = Timer(timeout, super().kill)
        timer.start()
        with ThreadPoolExecutor(2) as pool:
            read = [pool.submit(stream.read) for stream in (self.stdout, self.stderr)]
            with self.stdin:
                self.stdin.write(said)
            out, err = (each.result() for each in read)
        self.wait()
        timer.cancel()
        self.kill()
        return out, err

    def kill(self) -> int:
        """Kill it unless it has ended, and close the pipes; give the exit code."""
        for stream in (self.stdin, self.stdout, self.stderr):
            stream.close()
        return self.wait() if self.poll() is not None else super().kill()


def run(text: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    process = Program(text, *arguments)
    out, err = (said.decode() for said in process.communicate())
    return subprocess.CompletedProcess(process.arguments, process.wait(), out, err)


def _run(text: str, arguments: Sequence[str], ends: Sequence[Connection]) -> None:
    os.setsid()
    for number, end in enumerate(ends):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115
    sys.stderr = open(2, "w", 1, errors="backslashreplace")  # noqa: SIM115
    sys.argv[:] = ["-c", *arguments]
    exec(compile(text, "<program>", "exec"), {"__name__": "__main__"})
