"""SIGINT and SIGTERM of real processes: the batch is finished, the words are true, one goes on."""

import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from tests.fakes import rows_of, write_image
from tlfeatures import describe, extract
from tlfeatures.cli import main

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)

# A process of its own whose signals are as a terminal starts them; `what` may slow it or hang it.
CHILD = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from tlfeatures.features import extract, pixels, store
def say(word):
    print(word, flush=True)
{what}
from tlfeatures.cli import main
main(sys.argv[1:])
"""
SLOW = """
real_embed, real_write = pixels.PixelBackbone.embed, store.Writer.write
def embed(self, images):
    time.sleep(0.05)
    return real_embed(self, images)
def write(self, rows, *values):
    real_write(self, rows, *values)
    say(len(rows))
pixels.PixelBackbone.embed, store.Writer.write = embed, write
"""
HANGING = """
def embed(self, images):
    say("hanging")
    time.sleep(600)
pixels.PixelBackbone.embed = embed
"""
HANGING_IN_A_LIBRARY = """
import ctypes
def embed(self, images):
    say("hanging")
    lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(128)
    lock(mutex)
    lock(mutex)  # for ever, and Python's own handlers don't run
pixels.PixelBackbone.embed = embed
"""
LONG_SCAN = """
def manifest(scan):
    say("hanging")
    while True:  # a signal just before one long sleep would wait for its end
        time.sleep(0.1)
extract.Scan.manifest = manifest
"""
LONG_LOADING = """
def load(*_, **__):
    try:
        say("hanging")
        while True:
            time.sleep(0.1)
    except BaseException as error:  # as some libraries do while they are imported
        raise ImportError("initialization failed") from error
extract.load_backbone = load
"""


@pytest.fixture
def start():
    """Start `tlfeatures ARGUMENTS` changed by `what`; it does not outlive the test."""
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


@pytest.fixture
def album(tmp_path):
    """A folder whose name must be quoted."""
    folder = tmp_path / "grandma's photos"
    for number in range(60):
        write_image(folder / "ab"[number % 2] / f"{number:02d}.png", number)
    return folder


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
    arguments += STAGES[stage]
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
    acknowledged = sum(int(line_of(process.stdout)) for _ in range(3))
    process.send_signal(number)
    rest, said = process.communicate(timeout=120)
    acknowledged += sum(map(int, rest.split()))
    first, last = said.decode().splitlines()
    assert process.returncode == 1
    assert first == "Stopping after this batch; a second signal stops at once."
    words = r"Stopped after (\d+) of 60 images, which are safe in (\S+)( \(x.h5 is as it was\))?"
    done, name, beside, again = re.fullmatch(f"{words}; go on with: (.*)", last).groups()
    assert int(done) == describe(tmp_path / name)["done"]
    assert int(done) == acknowledged + (had if stage == "adding images" else 0) < 60
    assert (name, bool(beside)) == (("x.h5.partial", True) if had else ("x.h5", False))
    facts = describe(file)
    assert facts["done"] + facts["waiting"] == facts["images"]
    assert facts["unfinished_update"] == (str(tmp_path / name) if had else None)
    assert before in (None, file.read_bytes())

    assert shlex.split(again) == ["tlfeatures", *map(str, arguments)]
    subprocess.run([sys.executable, "-m", *shlex.split(again)], check=True, capture_output=True)
    (ids, rows), (expected_ids, expected) = rows_of(file), rows_of(whole)
    assert (ids, rows.keys()) == (expected_ids, expected.keys())
    for name, values in expected.items():
        np.testing.assert_array_equal(rows[name], values)
    assert not list(tmp_path.glob("*.partial"))


@SIGNALS
@pytest.mark.parametrize("what", [HANGING, HANGING_IN_A_LIBRARY], ids=["python", "library"])
def test_a_second_signal_ends_a_process_that_hangs(album, tmp_path, start, what, number):
    process = start(what, "extract", album, "-o", tmp_path / "x.h5", "--backbone", "pixels")
    assert line_of(process.stdout) == "hanging"
    process.send_signal(number)
    assert line_of(process.stderr).startswith("Stopping after this batch")
    time.sleep(0.5)  # two within an instant are one
    assert process.poll() is None
    process.send_signal(number)
    code, said = end_of(process)
    assert code in (-number, 128 + number)
    assert said == []
    assert extract(album, tmp_path / "x.h5").computed == 60


@SIGNALS
@pytest.mark.parametrize("what", [LONG_SCAN, LONG_LOADING], ids=["scanning", "loading"])
@pytest.mark.parametrize("there", [False, True])
def test_before_the_first_batch_it_ends_at_once(album, tmp_path, start, what, there, number):
    file = tmp_path / "x.h5"
    if there:
        extract(album / "a", file, backbone="pixels")
    before = file.read_bytes() if there else None
    process = start(what, "extract", album / ("" if there else "a"), "-o", file, "--size", 224)
    assert line_of(process.stdout) == "hanging"
    process.send_signal(number)
    code, said = end_of(process)
    assert code == 1
    assert said[0] == "Stopping; a second signal stops at once."
    assert said[1].startswith("Stopped before the first batch, nothing is lost; go on with: ")
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


def test_the_command_line_puts_signals_back(album, tmp_path):
    def state():
        woken = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(woken)
        return woken, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    before = state()
    arguments = ["extract", str(album), "-o", str(tmp_path / "x.h5"), "--backbone", "pixels"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert state() == before
