"""One process writes a file at a time, also on file systems without the kernel's locks.

Promise: two writers don't meet, and a killed one keeps nobody out.
"""

import errno
import json
import os
import signal
import socket

import pytest

from tests.fakes import rows_of
from tests.integration import piped
from tests.integration.piped import Program
from tlfeatures import describe, extract
from tlfeatures.errors import BusyError
from tlfeatures.locks import locked

# `tlfeatures ARGUMENTS` where flock gives an error, as on some network file systems; if it is told
# to, it waits at the first batch.
PROGRAM = """
import fcntl, os, sys
from dataclasses import replace
from tlfeatures.cli import main
from tlfeatures.features.backbones.table import BACKBONES
from tlfeatures.features.backbones.pixels import PixelBackbone
number, waits = int(sys.argv[1]), sys.argv[2] == "waits"
def flock(file, how):
    raise OSError(number, os.strerror(number))
if number:
    fcntl.flock = flock
class Waiting(PixelBackbone):
    def embed(self, images):
        if waits:
            print("embedding", flush=True)
            sys.stdin.readline()
        return super().embed(images)
BACKBONES["pixels"] = replace(BACKBONES["pixels"], load=Waiting)
main(sys.argv[3:])
"""
EXTRACT = ["--backbone", "pixels", "--size", "16"]


def start(number, photos, file):
    """A process that is in the middle of writing the file."""
    process = Program(PROGRAM, number, "waits", "extract", photos, "-o", file, *EXTRACT)
    assert process.stdout.readline() == b"embedding\n"
    return process


def run(number, photos, file):
    return piped.run(PROGRAM, number, "goes on", "extract", photos, "-o", file, *EXTRACT)


@pytest.mark.parametrize("number", [0, errno.ENOSYS], ids=["flock", "no flock"])
@pytest.mark.parametrize("adding", [False, True])
def test_a_second_writer_is_refused_until_the_first_is_killed(number, adding, photos, tmp_path):
    file = tmp_path / "x.h5"
    if adding:
        run(number, photos, file)
        for path in sorted(photos.glob("*/*"))[::7]:
            path.write_bytes(path.read_bytes() + b"\0")  # another image, the same pixels
    first = start(number, photos, file)
    refused = run(number, photos, file)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"Error: {file} is being written by another process (pid {first.pid}); wait for it, or end "
        "it\n"
    )
    assert first.kill() == -signal.SIGKILL
    done = run(number, photos, file)
    assert (done.returncode, done.stderr) == (0, "")
    extract(photos, tmp_path / "whole.h5", backbone="pixels", size=16)
    assert describe(file)["done"] == 24
    assert str(rows_of(file)) == str(rows_of(tmp_path / "whole.h5"))
    assert run(number, photos, file).returncode == 0  # the lock was given back
    assert [path.name for path in tmp_path.glob(".x*.new")] == []


def test_the_lock_of_a_dead_process_of_another_machine_is_said(photos, tmp_path):
    lock = tmp_path / ".x.h5.lock"
    lock.write_text("4711\nnode7\n")
    refused = run(errno.ENOSYS, photos, tmp_path / "x.h5")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"Error: {tmp_path / 'x.h5'} is being written by another process (pid 4711 on node7); wait "
        f"for it, or end it; if it is gone, remove {lock}\n"
    )
    lock.unlink()
    assert run(errno.ENOSYS, photos, tmp_path / "x.h5").returncode == 0
    assert not lock.exists()  # where there is no flock, it is the lock itself


def test_a_lock_that_says_nothing_has_a_remedy(photos, tmp_path):
    lock = tmp_path / ".x.h5.lock"
    lock.touch()  # of a process that was killed as it made it
    refused = run(errno.ENOSYS, photos, tmp_path / "x.h5")
    assert refused.returncode == 1
    assert f"(pid unknown); wait for it, or, if there is none, remove {lock}" in refused.stderr


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
@pytest.mark.parametrize("there", [False, True])
def test_a_file_system_without_locks_is_one_line_with_a_remedy(number, there, photos, tmp_path):
    file = tmp_path / "x.h5"
    if there:
        extract(photos, file, backbone="pixels", size=16)
    before = {path.name for path in tmp_path.iterdir()}
    refused = run(number, photos, file)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"Error: {file} can't be locked against other writers: {os.strerror(number)}; its file "
        "system has no locks. Choose a place on a local disk with -o, and copy it afterwards\n"
    )
    assert {path.name for path in tmp_path.iterdir()} == before


def test_what_another_mount_of_the_same_disk_left_locks_nobody_out(photos, tmp_path):
    """With flock the lock file stays; where there is none, it is that of a process that is gone."""
    first = start(0, photos, tmp_path / "x.h5")
    first.kill()
    assert (tmp_path / ".x.h5.lock").read_text().split() == [str(first.pid), socket.gethostname()]
    done = run(errno.ENOSYS, photos, tmp_path / "x.h5")
    assert (done.returncode, done.stderr) == (0, "")


# Each takes the lock, makes the file and removes it, so that the lock file goes, too; it adds the
# number of those that it met.
RACE = """
import sys
from pathlib import Path
from tlfeatures.locks import locked
path, beside, met = Path(sys.argv[1]), Path(sys.argv[2]), 0
for _ in range(150):
    with locked(path, patience=60):
        try:
            beside.touch(exist_ok=False)
        except FileExistsError:
            met += 1
        else:
            beside.unlink()
print(met)
"""


def test_no_two_processes_meet_though_the_lock_file_goes(tmp_path):
    racing = [Program(RACE, tmp_path / "x", tmp_path / "inside") for _ in range(3)]
    assert [json.loads(process.communicate()[0]) for process in racing] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == []


def test_threads_of_one_process_don_t_meet_either(tmp_path):
    with (
        locked(tmp_path / "x"),
        pytest.raises(BusyError, match=f"pid {os.getpid()}"),
        locked(tmp_path / "x"),
    ):
        pass
