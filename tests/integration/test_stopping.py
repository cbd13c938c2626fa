"""SIGINT and SIGTERM of real processes: the batch is finished, the words are true, one goes on.

Promise: Ctrl-C and SIGTERM end `extract` after the batch at work, with the command that goes on
from there; a second one ends it at once.
"""

import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from tests.fakes import assert_same, rows_of, write_image
from tests.integration.piped import Program
from tlfeatures import describe, extract
from tlfeatures.cli import main
from tlfeatures.errors import StoppedError
from tlfeatures.terminal.stopping import Stopping

pytestmark = pytest.mark.slow

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)

# A process of its own whose signals are as a terminal starts them. `what` says how the backbone is
# loaded, and may change more.
CHILD = """
import atexit, ctypes, os, signal, sys, time
from dataclasses import replace
signal.signal(signal.SIGINT, signal.default_int_handler)
from tlfeatures.terminal import stopping
from tlfeatures.cli import main
from tlfeatures.features.backbones.table import BACKBONES
from tlfeatures.features.backbones.pixels import PixelBackbone
def say(word):
    print(word, flush=True)
def wait():
    say("waiting")
    while True:  # a signal just before one long sleep would wait for its end
        time.sleep(0.1)
{what}
BACKBONES["pixels"] = replace(BACKBONES["pixels"], load=load)
main(sys.argv[1:])
"""
SLOW = """
class Slow(PixelBackbone):
    def embed(self, images):
        say(len(images))
        time.sleep(0.05)
        return super().embed(images)
load = Slow
"""
HANGING = """
class Hanging(PixelBackbone):
    def embed(self, images):
        wait()
load = Hanging
"""
HANGING_IN_A_LIBRARY = """
class Hanging(PixelBackbone):
    def embed(self, images):
        say("waiting")
        lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(128)
        lock(mutex)
        lock(mutex)  # for ever, and Python's own handlers don't run
load = Hanging
"""
LONG_LISTING = """
load, real = PixelBackbone, os.scandir
def scandir(folder):
    if "photos" in str(folder):
        wait()  # as where a disk answers no more
    return real(folder)
os.scandir = scandir
"""
LONG_LOADING = """
def load(names):
    try:
        wait()
    except BaseException as error:  # as some libraries do while they are imported
        raise ImportError("initialization failed") from error
"""
AT_THE_END = """
@atexit.register
def hang():
    wait()
"""
LONG_INSTANT = """
stopping.INSTANT = 2.0
"""


@pytest.fixture
def start():
    """Start `tlfeatures ARGUMENTS` changed by `what`; it does not outlive the test."""
    running = []

    def run(what, *arguments):
        running.append(Program(CHILD.format(what=what), *arguments))
        return running[-1]

    yield run
    for process in running:
        process.kill()


@pytest.fixture
def start_python():
    """The same by a Python of its own, where it matters how that ends."""
    running = []

    def run(what, *arguments):
        command = [sys.executable, "-c", CHILD.format(what=what), *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        running.append(subprocess.Popen(command, bufsize=0, **pipes))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate()


def line_of(stream):
    assert select.select([stream], [], [], 120)[0], "no line came"
    return stream.readline().decode().strip()


def end_of(process):
    """Exit code and lines of standard error."""
    _, said = process.communicate(timeout=120)
    return process.returncode, said.decode().splitlines()


@pytest.fixture(scope="module")
def _album(tmp_path_factory):
    folder = tmp_path_factory.mktemp("album") / "grandma's photos"
    for number in range(60):
        write_image(folder / "ab"[number % 2] / f"{number:02d}.png", number)
    return folder


@pytest.fixture
def album(_album, tmp_path):
    """A folder whose name must be quoted."""
    return shutil.copytree(_album, tmp_path / _album.name)


STAGES = {
    "first extract": [],
    "adding images": [],
    "adding a layer": ["--layer", "grid4", "--pool", "max"],
}


@SIGNALS
@pytest.mark.parametrize("stage", STAGES)
def test_a_stopped_run_keeps_its_batches_and_says_how_to_go_on(
    album, tmp_path, start, stage, number
):
    file, whole = tmp_path / "x.h5", tmp_path / "whole.h5"
    arguments = ["extract", album, "-o", file, "--backbone", "pixels", "--batch-size", 4]
    arguments = [*map(str, arguments), *STAGES[stage]]
    had = 0
    if stage != "first extract":
        fewer = shutil.copytree(album, tmp_path / "fewer")
        for path in sorted(fewer.glob("*/*"))[::2] if stage == "adding images" else ():
            path.unlink()
        had = extract(fewer, file, backbone="pixels", batch_size=4).computed
        shutil.copy(file, whole)
    before = file.read_bytes() if had else None
    options = {"layers": ["grid4"], "pools": ["max"]} if stage == "adding a layer" else {}
    extract(album, whole, backbone="pixels", batch_size=4, **options)

    process = start(SLOW, *arguments)
    embedded = sum(int(line_of(process.stdout)) for _ in range(3))
    process.send_signal(number)
    rest, said = process.communicate(timeout=120)
    embedded += sum(map(int, rest.split()))
    first, last = said.decode().splitlines()
    assert process.returncode == 1
    assert first == "Stopping after this batch; a second signal stops at once."
    words = r"Stopped after (\d+) of 60 images, which are safe in (\S+)( \(x.h5 is as it was\))?"
    done, name, unchanged, command = re.fullmatch(f"{words}; to continue, run: (.*)", last).groups()
    assert int(done) == describe(tmp_path / name)["done"]
    assert int(done) == embedded + (had if stage == "adding images" else 0) < 60
    assert (name, bool(unchanged)) == (("x.h5.partial", True) if had else ("x.h5", False))
    facts = describe(file)
    assert facts["done"] + facts["waiting"] == facts["images"]
    assert facts["unfinished_update"] == (str(tmp_path / name) if had else None)
    assert before in (None, file.read_bytes())

    assert shlex.split(command) == ["tlfeatures", *arguments]
    assert CliRunner().invoke(main, shlex.split(command)[1:]).exit_code == 0
    assert_same(file, rows_of(whole))


@SIGNALS
@pytest.mark.parametrize("what", [HANGING, HANGING_IN_A_LIBRARY], ids=["python", "library"])
def test_a_second_signal_ends_a_process_that_hangs(album, tmp_path, start, what, number):
    process = start(what, "extract", album, "-o", tmp_path / "x.h5", "--backbone", "pixels")
    assert line_of(process.stdout) == "waiting"
    process.send_signal(number)
    assert line_of(process.stderr).startswith("Stopping after this batch")
    time.sleep(1)  # two within an instant are one
    assert process.poll() is None
    process.send_signal(number)
    assert end_of(process) == (128 + number, [])
    assert extract(album, tmp_path / "x.h5").computed == 60


def test_a_second_signal_ends_a_process_that_hangs_at_its_end(album, tmp_path, start_python):
    """When it has said how far it came, and nothing is left to do but to leave."""
    arguments = ["extract", album, "-o", tmp_path / "x.h5", "--backbone", "pixels"]
    process = start_python(SLOW + AT_THE_END, *arguments, "--batch-size", 4)
    line_of(process.stdout)
    process.send_signal(signal.SIGTERM)
    assert line_of(process.stderr).startswith("Stopping after this batch")
    assert line_of(process.stderr).startswith("Stopped after ")
    while line_of(process.stdout) != "waiting":
        pass
    process.send_signal(signal.SIGTERM)
    assert end_of(process) == (-signal.SIGTERM, [])


@SIGNALS
@pytest.mark.parametrize("what", [LONG_LISTING, LONG_LOADING], ids=["listing", "loading"])
@pytest.mark.parametrize("there", [False, True])
def test_before_the_first_batch_it_ends_at_once(album, tmp_path, start, what, there, number):
    file = tmp_path / "x.h5"
    if there:
        extract(album / "b", file, backbone="pixels")
    before = file.read_bytes() if there else None
    process = start(what, "extract", album, "-o", file, "--backbone", "pixels")
    assert line_of(process.stdout) == "waiting"
    process.send_signal(number)
    code, said = end_of(process)
    assert code == 1
    assert said[0] == "Stopping; a second signal stops at once."
    assert said[1].startswith("Stopped before the first batch, nothing is lost; to continue, run: ")
    assert len(said) == 2
    assert (file.read_bytes() if file.exists() else None) == before


def test_a_signal_that_is_ignored_stays_ignored(album, tmp_path, start):
    ignored = "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"  # as a shell does for its jobs
    arguments = ["extract", album, "-o", tmp_path / "x.h5", "--backbone", "pixels"]
    process = start(ignored + SLOW, *arguments, "--batch-size", 4)
    line_of(process.stdout)
    process.send_signal(signal.SIGINT)
    assert end_of(process) == (0, [])
    assert describe(tmp_path / "x.h5")["done"] == 60


# ---- copies of a signal


def test_a_signal_sent_twice_in_an_instant_is_one(album, tmp_path, start):
    """As `timeout` sends it, or a wrapper that passes on what the terminal sends to both."""
    arguments = ["extract", album, "-o", tmp_path / "x.h5", "--backbone", "pixels"]
    process = start(SLOW, *arguments, "--batch-size", 4)
    line_of(process.stdout)
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.02)
    code, said = end_of(process)
    assert (code, len(said)) == (1, 2)


@pytest.mark.parametrize(
    ("what", "number"),
    [
        (SLOW, signal.SIGTERM),
        (LONG_LOADING, signal.SIGINT),
        pytest.param(SLOW, signal.SIGINT, marks=pytest.mark.long),
        pytest.param(LONG_LOADING, signal.SIGTERM, marks=pytest.mark.long),
    ],
    ids=["begun-SIGTERM", "not begun-SIGINT", "begun-SIGINT", "not begun-SIGTERM"],
)
def test_no_copy_of_a_signal_is_too_late_for_its_instant(
    album, tmp_path, start_python, what, number
):
    """They come as fast as they can, for longer than the process would else take to end."""
    arguments = ["extract", album, "-o", tmp_path / "x.h5", "--backbone", "pixels"]
    process = start_python(LONG_INSTANT + what, *arguments, "--batch-size", 4)
    line_of(process.stdout)
    last = time.monotonic() + 1
    while time.monotonic() < last:
        process.send_signal(number)
        time.sleep(0.001)
    assert process.poll() is None
    code, said = end_of(process)
    assert code == 1
    first, last = said
    assert first.startswith("Stopping")
    assert last.startswith("Stopped ")


# ---- the handlers that were there before


def handlers():
    woken = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(woken)
    return woken, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)


@pytest.fixture
def own_handlers():
    """A program's own handlers; gives the list of the signals that they get."""
    came = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda number, frame: came.append(number))
    yield came
    for number, old in before.items():
        signal.signal(number, old)


def test_a_programs_own_handlers_are_put_back(own_handlers):
    before = handlers()
    with Stopping(print) as stop:
        assert handlers() != before
        assert not stop()
    assert handlers() == before
    with pytest.raises(OSError, match="a disk"), Stopping(print):
        raise OSError("a disk")
    assert handlers() == before
    assert own_handlers == []


def wait_after(number):
    os.kill(os.getpid(), number)
    time.sleep(60)


@SIGNALS
def test_a_programs_own_handlers_are_put_back_after_a_signal(own_handlers, number):
    before, said = handlers(), []
    with Stopping(said.append) as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
    assert handlers() == before
    with pytest.raises(StoppedError), Stopping(said.append):
        wait_after(number)
    assert handlers() == before
    assert (said, own_handlers) == ([True, False], [])
    os.kill(os.getpid(), number)
    assert own_handlers == [number]


def test_the_command_line_puts_signals_back(album, tmp_path):
    before = handlers()
    arguments = ["extract", str(album), "-o", str(tmp_path / "x.h5"), "--backbone", "pixels"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert handlers() == before
