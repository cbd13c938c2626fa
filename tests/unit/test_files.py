"""Files are written in one way: whatever happens, what is there is the old file or the new one."""

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlfeatures.errors import OutputError, TlfeaturesError
from tlfeatures.files import remove_leftovers, replace_file, replacing


def left(folder):
    return sorted(path.name for path in folder.iterdir())


@settings(max_examples=30, deadline=None)
@given(data=st.binary(max_size=200), old=st.none() | st.binary(max_size=200))
def test_a_file_has_the_bytes_and_its_folder_nothing_else(tmp_path_factory, data, old):
    path = tmp_path_factory.mktemp("x") / "a.json"
    if old is not None:
        path.write_bytes(old)
    replace_file(path, data)
    assert path.read_bytes() == data
    assert left(path.parent) == ["a.json"]


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), KeyboardInterrupt(), SystemExit(1), OSError(errno.ENOSPC, "full"),
     OSError(errno.EIO, "bad", "another file")],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("old", [None, b"old"])
def test_an_error_leaves_what_was_there(error, old, tmp_path):
    path = tmp_path / "a.json"
    if old is not None:
        path.write_bytes(old)

    def write():
        with replacing(path) as fresh:
            fresh.write_bytes(b"half")
            raise error

    with pytest.raises(BaseException) as raised:  # noqa: PT011
        write()
    assert left(tmp_path) == ([] if old is None else ["a.json"])
    assert old is None or path.read_bytes() == old
    ours = isinstance(error, OSError) and error.filename is None
    assert (raised.value is error) != ours


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "make room and run the same command again"),
        (errno.EDQUOT, "make room and run the same command again"),
        (errno.EFBIG, "make room and run the same command again"),
        (errno.EACCES, "choose another place"),
        (errno.EROFS, "choose another place"),
    ],
)
def test_an_error_names_the_file_the_reason_and_the_remedy(number, remedy, tmp_path):
    with pytest.raises(OutputError) as raised, replacing(tmp_path / "a.json"):
        raise OSError(number, "as some library words it")
    said = f"{tmp_path / 'a.json'} can't be written: {os.strerror(number)}; {remedy}"
    assert str(raised.value) == said
    assert isinstance(raised.value, TlfeaturesError)
    assert isinstance(raised.value, OSError)


def test_the_words_of_hdf5_are_not_repeated(tmp_path):
    said = (
        "[Errno 28] Can't write data (file write failed: time = x, errno = 28, error message = y)"
    )
    words = "can't be written: No space left on device; make room"
    with pytest.raises(OutputError, match=words), replacing(tmp_path / "a.h5"):
        raise OSError(said)


def test_a_folder_in_its_place_is_one_line(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OutputError, match=r"a\.json can't be written: Is a directory"):
        replace_file(tmp_path / "a.json", b"x")
    with pytest.raises(OutputError, match=r"b\.json can't be written: No such file or directory"):
        replace_file(tmp_path / "nowhere" / "b.json", b"x")
    assert left(tmp_path) == ["a.json"]


def test_a_link_stays_a_link_and_a_file_keeps_its_permissions(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "real").chmod(0o600)
    (tmp_path / "link").symlink_to("real")
    replace_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o600


def test_a_device_and_a_pipe_stay_what_they_are(tmp_path):
    (tmp_path / "full.csv").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"full\.csv can't be written: No space left on device"):
        replace_file(tmp_path / "full.csv", b"x")
    os.mkfifo(tmp_path / "pipe.csv")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe.csv").read_bytes()))
    reader.start()
    replace_file(tmp_path / "pipe.csv", b"x")
    reader.join()
    assert read == [b"x"]
    assert left(tmp_path) == ["full.csv", "pipe.csv"]
    assert os.path.exists("/dev/full")  # noqa: PTH110


def test_the_file_then_its_name_then_the_folder_reach_the_disk(tmp_path, monkeypatch):
    done = []
    fsync, rename = os.fsync, os.replace

    def tell_fsync(number):
        done.append(("fsync", Path(f"/proc/self/fd/{number}").readlink().name))
        fsync(number)

    def tell_replace(source, target):
        done.append(("replace", source.name, target.name))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", tell_fsync)
    monkeypatch.setattr(os, "replace", tell_replace)
    replace_file(tmp_path / "a.json", b"x")
    (_, fresh), renamed, folder = done
    assert renamed == ("replace", fresh, "a.json")
    assert folder == ("fsync", tmp_path.name)


# ---- what killed processes leave

KILLED = """
import os, signal, sys
from pathlib import Path
from tlfeatures.files import replacing
with replacing(Path(sys.argv[1])) as fresh:
    fresh.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_a_writer(path):
    before = set(left(path.parent))
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    (leftover,) = set(left(path.parent)) - before
    return path.parent / leftover


def test_what_a_killed_process_left_goes_with_the_next_writer_of_the_file(tmp_path):
    leftover = kill_a_writer(tmp_path / "a.json")
    other = kill_a_writer(tmp_path / "b.json")
    assert leftover.name.startswith(".a.json.")
    replace_file(tmp_path / "b.json.bak", b"x")
    replace_file(tmp_path / "a", b"x")
    assert leftover.exists()
    replace_file(tmp_path / "a.json", b"new")
    assert left(tmp_path) == [other.name, "a", "a.json", "b.json.bak"]
    assert (tmp_path / "a.json").read_bytes() == b"new"


def test_the_file_of_a_writer_that_lives_is_left_alone(tmp_path):
    with replacing(tmp_path / "a.json") as fresh:
        fresh.write_bytes(b"first")
        replace_file(tmp_path / "a.json", b"second")
        assert fresh.read_bytes() == b"first"
    assert (tmp_path / "a.json").read_bytes() == b"first"
    assert left(tmp_path) == ["a.json"]


def test_one_of_another_machine_goes_after_a_day_or_under_the_lock(tmp_path):
    leftover = kill_a_writer(tmp_path / "a.json")
    pid, _, random = leftover.name.removeprefix(".a.json.").removesuffix(".new").split("-")
    far = leftover.rename(tmp_path / f".a.json.{pid}-00000000-{random}.new")
    remove_leftovers(tmp_path / "a.json")
    assert far.exists()
    then = time.time() - 2 * 86_400
    os.utime(far, (then, then))
    remove_leftovers(tmp_path / "a.json")
    assert not far.exists()
    far.write_bytes(b"half")
    remove_leftovers(tmp_path / "a.json", alone=True)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "name", [".a.json.new", ".a.json.notes.new", "a.json.1-00000000-000000.new", ".a.json.lock"]
)
def test_files_of_other_names_are_left_alone(name, tmp_path):
    (tmp_path / name).write_text("mine")
    remove_leftovers(tmp_path / "a.json", alone=True)
    assert left(tmp_path) == [name]


def test_a_file_that_is_read_only_stays_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for any user but root
    with pytest.raises(OutputError, match=r"a\.json is read-only: make it writable, or choose"):
        replace_file(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"old"
