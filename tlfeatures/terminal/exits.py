"""What ends a command: its errors become one line on standard error and an exit code.

The exit codes are 0 done, 1 the job failed, 2 wrong usage, 3 done but some images could not be
read.
"""

from __future__ import annotations

import errno
import shlex
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import click

from tlfeatures.errors import ParameterError, StoppedError, TlfeaturesError
from tlfeatures.names import one_line
from tlfeatures.terminal.streams import (
    NO_OUTPUT,
    finish_writing,
    open_closed_streams,
    print_failure,
    print_message,
    writing_output,
)

FAILED, WRONG_USAGE, SOME_UNREADABLE = 1, 2, 3

COMMAND_LINE = "tlfeatures.command"  # key of the command line, which files record


def _code_of(error: click.ClickException) -> int:
    """Print a usage error, if standard error can be written; return its exit code."""
    with suppress(OSError):
        error.show()
    return error.exit_code


class Command(click.Command):
    """A command whose help is an ordinary result: a full disk is reported in one line."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the options, or print the help."""
        with writing_output():
            return super().make_context(*args, **kwargs)


_AGAIN = " Run the same command again to continue"
_HOW_TO_CONTINUE = {
    "extract": f"{_AGAIN}.",
    "demo": f"{_AGAIN}.",
    "benchmark": f"{_AGAIN}, if it has -o DIR.",
}


class Commands(click.Group):
    """The command line: errors of its commands become one line and an exit code."""

    command_class = Command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line and exit; a closed or full standard stream prints no traceback."""
        open_closed_streams()
        failed = None
        try:
            return super().main(*args, **kwargs)
        except SystemExit as ended:
            code = ended.code
        except OSError as error:  # the help can't be written
            failed, code = error, FAILED
        refused = finish_writing(sys.stdout)
        if refused is not None:
            failed, code = refused, code if code in (FAILED, WRONG_USAGE) else FAILED
        if failed is not None and failed.errno != errno.EPIPE:  # EPIPE: the reader has ended
            print_message(f"Error: {NO_OUTPUT}{failed.strerror or failed}")
        finish_writing(sys.stderr)
        sys.exit(code)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the options before the command; a wrong one ends the process."""
        try:
            return super().make_context(*args, **kwargs)
        except click.ClickException as error:
            sys.exit(_code_of(error))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the command line, which files record and messages repeat."""
        ctx.meta[COMMAND_LINE] = shlex.join(["tlfeatures", *args])
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn its error into one line and an exit code."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            ctx.exit(_code_of(error))
        except StoppedError as error:
            print_message(f"{error}; to continue, run: {ctx.meta[COMMAND_LINE]}")
            ctx.exit(FAILED)
        except TlfeaturesError as error:
            print_message(f"Error: {one_line(str(error))}")
            ctx.exit(WRONG_USAGE if isinstance(error, ParameterError) else FAILED)
        except BrokenPipeError:
            raise  # the reader of our output has ended; click handles it
        except OSError as error:
            named = f"{error.filename}: " if error.filename else ""
            print_message(f"Error: {one_line(named)}{error.strerror or error}")
            ctx.exit(FAILED)
        except KeyboardInterrupt:
            print_message(f"\nInterrupted.{_HOW_TO_CONTINUE.get(ctx.invoked_subcommand or '', '')}")
            ctx.exit(FAILED)


def exit_for_failures(ctx: click.Context, failures: Iterable[tuple[str, str]]) -> None:
    """Name the images that could not be read; end with `SOME_UNREADABLE` if there are any."""
    failures = list(failures)
    for name, reason in failures:
        print_failure(name, reason)
    if failures:
        ctx.exit(SOME_UNREADABLE)
