"""Standard streams that are closed or full: one line or silence, and the right exit code.

Promise: no command ends in a traceback because nobody can read it.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tlfeatures import describe, extract, fit

FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


@pytest.fixture(scope="module")
def folder(_photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    extract(_photos, folder / "x.h5", backbone="pixels", size=16, pools="flatten")
    fit(folder / "x.h5", "logreg", model=folder / "m.model")
    return folder


@pytest.fixture(scope="module")
def album(_photos):
    return _photos


COMMANDS = {
    "info": ("info x.h5", 0),
    "help": ("--help", 0),
    "wrong usage": ("info", 2),
    "not such a file": ("info m.model.md", 1),
}
ALIKE = {  # written as some of the others are
    "help of a command": ("extract --help", 0),
    "version": ("--version", 0),
    "no such option": ("info x.h5 --nope", 2),
    "no such file": ("info nope.h5", 2),
}
HEAVY = {  # they import much
    "predict": ("predict m.model PHOTOS", 0),
    "predict a stream": ("predict m.model - --json", 0),
    "two processes": ("fit x.h5 --head dummy,centroid --n-jobs 2", 0),
}
ALL = COMMANDS | ALIKE | HEAVY


def long(names):
    return [pytest.param(name, marks=pytest.mark.long) for name in names]


LIGHT = pytest.mark.parametrize("name", [*COMMANDS, *long(ALIKE)])


def run(command, redirection, folder, photos, buffered):
    """A command line as a shell starts it."""
    command = command.replace("PHOTOS", str(photos))
    line = f"{sys.executable} {'' if buffered else '-u'} -m tlfeatures {command} {redirection}"
    images = "\n".join(map(str, photos.glob("*/*")))
    result = subprocess.run(
        ["bash", "-c", line], cwd=folder, input=images, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr
    return result


@LIGHT
@pytest.mark.slow
def test_what_nobody_shall_read_is_not_written(name, folder, album):
    command, code = ALL[name]
    said = run(command, "", folder, album, True)
    assert said.returncode == code
    closed = run(command, ">&-", folder, album, True)
    assert (closed.returncode, closed.stdout, closed.stderr) == (code, "", said.stderr)
    silent = run(command, "2>&-", folder, album, True)
    assert (silent.returncode, silent.stdout, silent.stderr) == (code, said.stdout, "")


@pytest.mark.parametrize(
    "name", [*COMMANDS, "predict a stream", "two processes", *long(ALIKE), *long(["predict"])]
)
@pytest.mark.slow
def test_nothing_is_open(name, folder, album):
    command, code = ALL[name]
    nothing = run(command, "<&- >&- 2>&-", folder, album, True)
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (code, "", "")


@FULL
@pytest.mark.parametrize("buffered", [True, pytest.param(False, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "name", [*COMMANDS, "predict", "predict a stream", *long(ALIKE), *long(["two processes"])]
)
@pytest.mark.slow
def test_a_full_disk_behind_standard_output_is_one_line(name, buffered, folder, album):
    command, code = ALL[name]
    full = run(command, "> /dev/full", folder, album, buffered)
    if code:  # its message is on standard error
        assert full.returncode == code
        assert "standard output" not in full.stderr
        return
    assert full.returncode == 1
    lines = full.stderr.splitlines()
    assert lines == ["Error: standard output can't be written: No space left on device"]


@FULL
@LIGHT
@pytest.mark.slow
def test_a_full_disk_behind_standard_error_changes_nothing(name, folder, album):
    command, code = ALL[name]
    full = run(command, "2> /dev/full", folder, album, True)
    assert (full.returncode, full.stderr) == (code, "")
    both = run(command, "> /dev/full 2> /dev/full", folder, album, True)
    assert (both.returncode, both.stdout, both.stderr) == (code or 1, "", "")


def test_who_stops_reading_ends_a_command_without_a_word(folder, album):
    for buffered in (True, False):
        result = run("--help", "| head -n 1", folder, album, buffered)
        assert (result.stdout.splitlines()[1:], result.stderr) == ([], "")


def test_a_file_is_whole_though_nobody_hears_of_it(folder, album):
    """Else the file would get the number of standard output, and what a library prints, too."""
    line = f"extract {album} -o closed.h5 --backbone pixels --size 16 --pool flatten"
    assert run(line, "<&- >&- 2>&-", folder, album, True).returncode == 0
    assert describe(folder / "closed.h5")["done"] == 24
