"""The command line as a user whom permissions bind, whoever runs the tests.

An ordinary user is one already. For the superuser, whom no permission binds, a child process
becomes the user `nobody`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes import write_image

# What a command imports is imported before the child becomes another user: that one may not be
# allowed to read this package or the libraries, as where they are in the superuser's home.
PROGRAM = """
import os, sys
from click.testing import CliRunner
from tlfeatures.cli import main
first, *arguments = sys.argv[1:]
commands = [["extract", first, "-o", first + ".h5", "--backbone", "pixels", "--json"],
            ["extract", first, "-o", first + ".h5"], ["info", first + ".h5"], ["doctor"]]
for command in commands:
    assert CliRunner().invoke(main, command).exit_code == 0
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
main(arguments)
"""


@contextmanager
def open_folder() -> Iterator[Path]:
    """Give a folder that any user can come to and write in; pytest's own are closed to others."""
    base = Path(tempfile.mkdtemp())
    base.chmod(0o777)
    try:
        yield base
    finally:
        for folder in [base, *(path for path in base.rglob("*") if path.is_dir())]:
            folder.chmod(0o777)  # else an ordinary user can't remove what is in it
        shutil.rmtree(base)


def run_python(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program by a Python of its own."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def as_nobody(
    *arguments: object, run: Callable[..., subprocess.CompletedProcess[str]] = run_python
) -> subprocess.CompletedProcess[str]:
    """Run `tlfeatures ARGUMENTS` as a user whom permissions bind, by a process of `run`."""
    with tempfile.TemporaryDirectory() as scratch:
        write_image(Path(scratch, "first", "a", "1.png"), 0)
        return run(PROGRAM, f"{scratch}/first", *arguments)
