"""kill -9 at random moments of real processes: whatever was cut off, the next run finishes it.

By the pixel backbone, so that many kills fit into seconds, as the file doesn't know the difference;
and a few by the real VGG16, whose values depend on the shape of a batch. TLFEATURES_KILLS and
TLFEATURES_VGG16_KILLS make more of them: 40 of the former are 200 in all.
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

from tests.fakes import rows_of, write_image
from tlfeatures import describe, extract
from tlfeatures.features.store import partial_path

KILLS = int(os.environ.get("TLFEATURES_KILLS", "12"))  # of each stage
VGG16_KILLS = int(os.environ.get("TLFEATURES_VGG16_KILLS", "3"))

# Rows are acknowledged once they are written: from then on they must survive. Around the final
# replace it dwells for some ms, so that many kills hit the moment before and the one after.
SLOWED = """
import os, sys, time
import scipy.ndimage  # what variants need is loaded before the clock runs
from tlfeatures.features import pixels, store
real_embed, real_write, real_replace = pixels.PixelBackbone.embed, store.Writer.write, os.replace
def embed(self, images):
    time.sleep(float(sys.argv[1]))
    return real_embed(self, images)
def write(self, rows, *values):
    real_write(self, rows, *values)
    print(len(rows), flush=True)
def replace(source, target):
    if str(source).endswith(".partial"):
        print("replacing", flush=True)
        time.sleep(0.004)
        real_replace(source, target)
        time.sleep(0.004)
    else:
        real_replace(source, target)
pixels.PixelBackbone.embed, store.Writer.write, os.replace = embed, write, replace
from tlfeatures.cli import main
print("ready", flush=True)
main(sys.argv[2:])
"""

STAGES = {
    "first extract": [],
    "adding images": [],
    "adding a layer": ["--layer", "grid4", "--pool", "max"],
    "adding variants": ["--augment", "2"],
    "final replace": [],
}
SETTINGS = {
    "adding a layer": {"layers": ["grid4"], "pools": ["max"]},
    "adding variants": {"augment": 2},
}
# Every so many images are not there yet at the start; no image at all for the variants, so that
# they alone are to be computed.
MISSING = {"adding images": 3, "adding a layer": 1000, "final replace": 50}
SIZES = {"adding variants": 64}  # small, so that many are made before a process is killed
ROWS = "rows"  # any number of them
# What the clock runs from, in turns, the longest time to the kill, and how long a batch dwells.
MOMENTS = {"final replace": (["replacing"], 0.012, 0.0)}
USUAL_MOMENTS = (["ready", ROWS], 0.5, 0.01)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kill") / "photos"
    for number in range(150):
        write_image(folder / "ab"[number % 2] / f"{number:03d}.png", number)
    return folder


def kill_at(command, word, seconds):
    """Start a process, kill it some time after its word; whether it had finished, and its rows."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    lines = []
    while not lines or word not in (lines[-1], ROWS if lines[-1].isdigit() else None):
        lines.append(process.stdout.readline().decode().strip())
        assert lines[-1], f"it ended before it said {word}"
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.read().decode().split("\n")[:-1]
    process.stdout.close()
    return process.wait() == 0, sum(int(line) for line in lines if line.isdigit())


def assert_info_is_right(file, had, images, acknowledged):
    """What `info` says after a kill; `had` is what it said of the file before, if there was one."""
    beside = partial_path(file)
    if had is None:
        if not file.exists():
            assert not acknowledged
            return
        facts = describe(file)
        assert facts["images"] == images == facts["done"] + facts["waiting"]
        assert acknowledged <= facts["done"] <= acknowledged + 4  # a batch is not acknowledged yet
        return
    facts = describe(file)
    assert facts["waiting"] == 0
    assert facts["unfinished_update"] == (str(beside) if beside.exists() else None)
    replaced = facts["images"] == images and facts["embeddings"].keys() != had["embeddings"].keys()
    if beside.exists():
        facts = describe(beside)
        assert facts["images"] == images == facts["done"] + facts["waiting"]
        assert facts["done"] >= acknowledged
    elif acknowledged or replaced:
        assert facts["done"] == facts["images"] == images
    else:
        assert facts["done"] in (had["done"], images)


def assert_same(file, expected):
    (ids, rows), (expected_ids, expected_rows) = rows_of(file), expected
    assert (ids, rows.keys()) == (expected_ids, expected_rows.keys())
    for name, values in expected_rows.items():
        np.testing.assert_array_equal(rows[name], values)
    assert not partial_path(file).exists()


@pytest.mark.parametrize("stage", STAGES)
def test_whatever_was_cut_off_is_finished_bit_for_bit(photos, tmp_path, stage, capsys):
    moments = random.Random(stage)
    words, longest, dwell = MOMENTS.get(stage, USUAL_MOMENTS)
    options, settings = STAGES[stage], SETTINGS.get(stage, {})
    start, whole = tmp_path / "start.h5", tmp_path / "whole.h5"
    had = None
    if stage != "first extract":
        shutil.copytree(photos, tmp_path / "fewer")
        if stage in MISSING:
            for path in sorted(tmp_path.glob("fewer/*/*"))[:: MISSING[stage]]:
                path.unlink()
        size = SIZES.get(stage)
        extract(tmp_path / "fewer", start, backbone="pixels", batch_size=4, size=size)
        had = describe(start)
        shutil.copy(start, whole)
    to_do = extract(photos, whole, backbone="pixels", batch_size=4, **settings).computed
    expected = rows_of(whole)

    killed = finished = replaced = acknowledged_in_all = 0
    while killed < KILLS:
        file = tmp_path / f"try{killed + finished}.h5"
        if start.exists():
            shutil.copy(start, file)
        command = [sys.executable, "-c", SLOWED, str(dwell), "extract", str(photos)]
        command += ["-o", str(file), "--backbone", "pixels", "--batch-size", "4", *options]
        word = words[(killed + finished) % len(words)]
        done, acknowledged = kill_at(command, word, moments.uniform(0, longest))
        finished, killed = finished + done, killed + (not done)
        acknowledged_in_all += acknowledged
        assert_info_is_right(file, had, 150, acknowledged)
        replaced += not done and had is not None and not partial_path(file).exists()
        result = extract(photos, file, backbone="pixels", batch_size=4, **settings)
        assert result.computed <= to_do - acknowledged
        assert_same(file, expected)
    after = f" ({replaced} after it)" if stage == "final replace" else ""
    with capsys.disabled():
        print(
            f"\n{stage}: {killed} processes killed{after}, {finished} had finished; "
            f"{acknowledged_in_all} rows acknowledged, none lost; every file was completed"
        )


REAL = """
import sys
from tlfeatures.features import store
real_write = store.Writer.write
def write(self, rows, *values):
    real_write(self, rows, *values)
    print(len(rows), flush=True)
store.Writer.write = write
from tlfeatures.cli import main
main(sys.argv[1:])
"""


@pytest.mark.integration
def test_vgg16_cut_off_is_finished_bit_for_bit(photos, tmp_path, weights, capsys):
    """The clock runs from the first acknowledged batch: TensorFlow alone takes seconds to load."""
    for path in sorted(photos.glob("*/*"))[:40]:
        target = tmp_path / "photos" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    options = ["--backbone", "vgg16", "--size", "32", "--weights", weights, "--batch-size", "4"]

    def command(file, *start):
        return [sys.executable, *start, "extract", str(tmp_path / "photos"), "-o", file, *options]

    whole = tmp_path / "whole.h5"
    subprocess.run(command(whole, "-m", "tlfeatures"), check=True, capture_output=True)
    expected, moments = rows_of(whole), random.Random("vgg16")
    killed = finished = acknowledged_in_all = 0
    while killed < VGG16_KILLS:
        file = tmp_path / f"try{killed + finished}.h5"
        seconds = moments.uniform(0, 0.4)
        done, acknowledged = kill_at(command(file, "-c", REAL), ROWS, seconds)
        finished, killed = finished + done, killed + (not done)
        acknowledged_in_all += acknowledged
        assert_info_is_right(file, None, 40, acknowledged)
        subprocess.run(command(file, "-m", "tlfeatures"), check=True, capture_output=True)
        assert_same(file, expected)
    with capsys.disabled():
        print(
            f"\nvgg16: {killed} processes killed, {finished} had finished; "
            f"{acknowledged_in_all} rows acknowledged, none lost; every file was completed"
        )
