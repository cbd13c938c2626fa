"""Rows reach the disk before the marks that they are done, so that a loss of power loses none."""

import os
import shutil

import h5py
import numpy as np
import pytest

from tests.fakes import write_image
from tlfeatures import extract
from tlfeatures.features.file.lock import partial_path

OPTIONS = {"backbone": "pixels", "size": 16, "batch_size": 4}


def state_of(path):
    """Give the marks and the rows in a file as the operating system has it."""
    with h5py.File(path, "r", locking=False) as file:
        tables = (file[name][:] for name in ("embeddings/grid8.avg", "properties"))
        return file["done"][:], np.concatenate(list(tables), axis=1)


@pytest.fixture
def photos(tmp_path):
    for number in range(20):
        write_image(tmp_path / "photos" / "ab"[number % 2] / f"{number:02d}.png", number)
    return tmp_path / "photos"


@pytest.mark.parametrize("update", [False, True])
def test_a_row_is_on_the_disk_before_its_mark_can_be(photos, tmp_path, monkeypatch, update):
    """What was written since the last flush may be on the disk, or not, in any order."""
    file = tmp_path / "x.h5"
    if update:
        extract(photos, file, **OPTIONS)
        write_image(photos / "a" / "new.png", 100)
    written = partial_path(file) if update else file
    flushed, counts, sync = tmp_path / "flushed.h5", [], os.fsync

    def flush(descriptor):
        if written.is_file() and written.samefile(f"/proc/self/fd/{descriptor}"):
            done, rows = state_of(written)
            if flushed.is_file():
                done_then, rows_then = state_of(flushed)
                new = done & ~done_then
                counts.append(int(new.sum()))
                np.testing.assert_array_equal(rows_then[new], rows[new])
            shutil.copy(written, flushed)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    extract(photos, file, **OPTIONS)
    done, _ = state_of(file)
    assert done.all()
    assert sum(counts) == (1 if update else 20)
