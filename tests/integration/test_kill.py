"""kill -9 at random moments of real processes: whatever was cut off, the next run finishes it.

By the pixel backbone, so that many kills fit into seconds; the file doesn't know the difference.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import write_image
from tlfeatures import describe, extract
from tlfeatures.features.store import read_embedding, read_header

KILLS = int(os.environ.get("TLFEATURES_KILLS", "20"))

SLOWED = """
import sys, time
from tlfeatures.features import backbone
real = backbone.PixelBackbone.embed
def slow(self, images):
    time.sleep(0.01)
    return real(self, images)
backbone.PixelBackbone.embed = slow
from tlfeatures.cli import main
print("ready", flush=True)
main(sys.argv[1:])
"""

STAGES = {
    "first extract": [],
    "adding images": ["more"],
    "adding a layer": ["--layer", "grid4", "--pool", "max"],
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kill") / "photos"
    for number in range(150):
        write_image(folder / "ab"[number % 2] / f"{number:03d}.png", number)
    return folder


def rows_of(file):
    header = read_header(file)
    names = sorted(header.embeddings)
    return header.ids, {name: read_embedding(header, name) for name in names}


@pytest.mark.parametrize("stage", STAGES)
def test_whatever_was_cut_off_is_finished_bit_for_bit(photos, tmp_path, stage):
    moments = random.Random(stage)
    extra = [option for option in STAGES[stage] if option != "more"]
    options = ["--backbone", "pixels", "--batch-size", "4", *extra]
    settings = {"layers": ["grid4"], "pools": ["max"]} if extra else {}

    start = tmp_path / "start.h5"
    if stage != "first extract":
        fewer = tmp_path / "fewer"
        shutil.copytree(photos, fewer)
        if stage == "adding images":
            for path in sorted(fewer.glob("*/*"))[::3]:
                path.unlink()
        extract(fewer, start, backbone="pixels", batch_size=4)
    whole = tmp_path / "whole.h5"
    if start.exists():
        shutil.copy(start, whole)
    extract(photos, whole, backbone="pixels", batch_size=4, **settings)
    expected_ids, expected = rows_of(whole)

    killed, finished = 0, 0
    while killed < KILLS:
        file = tmp_path / f"try{killed + finished}.h5"
        if start.exists():
            shutil.copy(start, file)
        command = [sys.executable, "-c", SLOWED, "extract", str(photos), "-o", str(file), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        process.stdout.readline()  # imports are done; the work begins
        time.sleep(moments.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            finished += 1  # it was faster than the signal
        else:
            killed += 1
        process.stdout.close()
        if file.exists():
            facts = describe(file)
            assert facts["done"] + facts["waiting"] == facts["images"]
        result = extract(photos, file, backbone="pixels", batch_size=4, **settings)
        assert result.computed + result.reused == 150
        ids, rows = rows_of(file)
        assert ids == expected_ids
        for name, values in expected.items():
            np.testing.assert_array_equal(rows[name], values)
        assert not list(tmp_path.glob("*.partial"))
    print(f"{stage}: {killed} processes killed, {finished} had finished; every file was completed")
