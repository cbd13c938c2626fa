"""Promises that only other processes can test: readers beside a writer, full disks, jobs."""

import subprocess
import sys

import numpy as np
import pytest

from tlfeatures import cross_validate, extract, load_dataset, make_head
from tlfeatures.features.store import read_header


@pytest.fixture
def file(tmp_path):
    return tmp_path / "photos.h5"


def test_a_reader_is_not_blocked_by_a_writer(photos, file):
    seen = []

    script = "import sys, h5py; print(h5py.File(sys.argv[1], 'r')['done'][:].sum())"

    def progress(done, total):  # while the writer has it open, as somebody else's script would
        counted = subprocess.check_output([sys.executable, "-c", script, str(file)], text=True)
        seen.append((int(counted), done))
        assert read_header(file).done.sum() == done

    extract(photos, file, backbone="pixels", size=16, batch_size=5, progress=progress)
    assert [counted for counted, _ in seen] == [done for _, done in seen] == [5, 10, 15, 20, 24]


FULL_DISK = """
import resource, sys
from tlfeatures.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
main(sys.argv[2:])
"""


def on_a_full_disk(limit, *arguments):
    command = [sys.executable, "-c", FULL_DISK, str(limit), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_full_disk_is_one_line_and_leaves_no_file(photos, file):
    result = on_a_full_disk(
        9000, "extract", photos, "-o", file, "--backbone", "pixels", "--size", "16"
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert "File too large" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert {path.name for path in file.parent.iterdir()} == {"photos"}


def test_a_full_disk_loses_nothing_of_what_was_there(photos, file):
    extract(photos, file, backbone="pixels", size=16)
    before = file.read_bytes()
    arguments = ["extract", photos, "-o", file, "--pool", "flatten"]
    result = on_a_full_disk(len(before), *arguments)
    assert result.returncode == 1
    assert "make room" in result.stderr
    assert file.read_bytes() == before
    assert not list(file.parent.glob("*.tmp"))


def test_same_numbers_whatever_the_jobs(photos, file):
    extract(photos, file, backbone="pixels", size=16)
    data = load_dataset(file)
    one, two = (cross_validate(make_head("svm"), data, n_jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(one.probabilities, two.probabilities)
