"""Standard input, output and error: what is closed, full or no longer read.

Results go to standard output, everything else goes to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import click

from tlfeatures.errors import OutputError
from tlfeatures.names import one_line

_STREAMS = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))


def open_closed_streams() -> None:
    """Open the null device for each standard stream that is closed, as by `>&-`.

    Otherwise the next file to be opened gets the number of that stream, and text that a library
    prints goes into the file.
    """
    for number, name, mode in _STREAMS:
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, number)
            os.set_inheritable(number, True)
            if nothing != number:
                os.close(nothing)
        if getattr(sys, name) is None and number:  # sys.stdin stays None: there is no input
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def finish_writing(stream: IO[str] | None) -> OSError | None:
    """Flush a stream; return the error if it can't be written, and discard the text.

    Text that is still buffered when Python ends would cause a traceback and another exit code.
    """
    if stream is None:
        return None
    try:
        stream.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # a stream of a test has no number
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())
            os.close(nothing)
        return error
    except ValueError:  # closed
        pass
    return None


NO_OUTPUT = "standard output can't be written: "


@contextmanager
def writing_output() -> Iterator[None]:
    """Turn an error of writing to standard output into an `OutputError` that says so."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of our output has ended; click handles it
    except OSError as error:
        finish_writing(sys.stdout)
        raise OutputError(f"{NO_OUTPUT}{error.strerror or error}") from error


def print_result(text: str) -> None:
    """Write a result to standard output."""
    with writing_output():
        click.echo(text)


def print_message(text: str) -> None:
    """Write a line to standard error, if that can be written."""
    with suppress(OSError):
        click.echo(text, err=True)


def print_failure(name: str, reason: str) -> None:
    """Say on standard error why an image can't be read."""
    print_message(one_line(f"can't read {name}: {reason}"))


def paths_from_stdin() -> Iterator[str]:
    """Read one path per line, which may hold any bytes; skip empty lines.

    It opens standard input once more: a thread that waits in `sys.stdin` would crash the
    interpreter when it ends.
    """
    if sys.stdin is None:  # closed
        return
    try:
        lines: IO[bytes] = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    except OSError:  # a test replaced standard input
        lines = sys.stdin.buffer
    for line in lines:
        path = os.fsdecode(line.rstrip(b"\r\n"))
        if path:
            yield path
