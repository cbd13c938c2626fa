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
from tlfeatures.features.store import Reader

KILLS = int(os.environ.get("TLFEATURES_KILLS", "15"))

SLOWED = """
import sys, time
import scipy.ndimage  # what variants need is loaded before the clock runs
from tlfeatures.features import pixels, store
real_embed, real_write = pixels.PixelBackbone.embed, store.Writer.write
def embed(self, images):
    time.sleep(0.01)
    return real_embed(self, images)
def write(self, rows, *values):
    real_write(self, rows, *values)
    print(len(rows), flush=True)  # acknowledged: from now on these rows must survive
pixels.PixelBackbone.embed, store.Writer.write = embed, write
from tlfeatures.cli import main
print("ready", flush=True)
main(sys.argv[1:])
"""

STAGES = {
    "first extract": [],
    "adding images": [],
    "adding a layer": ["--layer", "grid4", "--pool", "max"],
    "adding variants": ["--augment", "2"],
}
SETTINGS = {
    "adding a layer": {"layers": ["grid4"], "pools": ["max"]},
    "adding variants": {"augment": 2},
}
# Every so many images are not there yet at the start; no image at all for the variants, so that
# they alone are to be computed.
MISSING = {"adding images": 3, "adding a layer": 1000}
SIZES = {"adding variants": 64}  # small, so that many are made before a process is killed


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kill") / "photos"
    for number in range(150):
        write_image(folder / "ab"[number % 2] / f"{number:03d}.png", number)
    return folder


def rows_of(file):
    with Reader(file) as reader:
        header = reader.header
        rows = {name: reader.read(name) for name in header.embeddings}
        if header.variants:
            for name in header.embeddings:
                rows[f"variants of {name}"] = reader.read_variants(name, header.variants)
        return header.ids, rows


def kill_at(command, seconds):
    """Start a process, kill it some time after it is ready; give the rows it acknowledged."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    lines = [line for line in process.stdout.read().split(b"\n")[:-1] if line.isdigit()]
    process.stdout.close()
    return process.wait() == 0, sum(map(int, lines))


@pytest.mark.parametrize("stage", STAGES)
def test_whatever_was_cut_off_is_finished_bit_for_bit(photos, tmp_path, stage):
    moments = random.Random(stage)
    options, settings = STAGES[stage], SETTINGS.get(stage, {})
    start, whole = tmp_path / "start.h5", tmp_path / "whole.h5"
    if stage != "first extract":
        shutil.copytree(photos, tmp_path / "fewer")
        if stage in MISSING:
            for path in sorted(tmp_path.glob("fewer/*/*"))[:: MISSING[stage]]:
                path.unlink()
        size = SIZES.get(stage)
        extract(tmp_path / "fewer", start, backbone="pixels", batch_size=4, size=size)
        shutil.copy(start, whole)
    to_do = extract(photos, whole, backbone="pixels", batch_size=4, **settings).computed
    expected_ids, expected = rows_of(whole)

    killed = finished = acknowledged_in_all = 0
    while killed < KILLS:
        file = tmp_path / f"try{killed + finished}.h5"
        if start.exists():
            shutil.copy(start, file)
        command = [sys.executable, "-c", SLOWED, "extract", str(photos), "-o", str(file)]
        command += ["--backbone", "pixels", "--batch-size", "4", *options]
        done, acknowledged = kill_at(command, moments.uniform(0, 0.5))
        finished, killed = finished + done, killed + (not done)
        acknowledged_in_all += acknowledged
        if file.exists():
            facts = describe(file)
            assert facts["done"] + facts["waiting"] == facts["images"]
        result = extract(photos, file, backbone="pixels", batch_size=4, **settings)
        assert result.computed <= to_do - acknowledged
        ids, rows = rows_of(file)
        assert (ids, rows.keys()) == (expected_ids, expected.keys())
        for name, values in expected.items():
            np.testing.assert_array_equal(rows[name], values)
        assert not list(tmp_path.glob("*.partial"))
    print(
        f"{stage}: {killed} processes killed, {finished} had finished; "
        f"{acknowledged_in_all} rows acknowledged, none lost; every file was completed"
    )
