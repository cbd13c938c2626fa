"""kill -9 of real processes: whatever was cut off, the next run finishes it bit for bit.

Promise: `kill -9` at any moment loses no finished batch.

With the pixel backbone, so that many kills fit into seconds, as the file doesn't know the
difference: at each moment that is just before or after a change of what is on the disk, and at
random. And with the real VGG16, whose values depend on the shape of a batch.
"""

import itertools
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from tests.fakes import assert_same, rows_of, write_image
from tests.integration.forked import CONTEXT
from tests.integration.killed import extract_watched
from tlfeatures import describe, extract
from tlfeatures.features.file.lock import partial_path

BATCH = 4
# What the second run has to do. Of the first run every so many images are missing.
STAGES = {
    "first extract": ({}, 0),
    "adding images": ({}, 3),
    "adding a layer": ({"layers": ["grid4"], "pools": ["max"]}, 10),
    "adding variants": ({"augment": 2}, 0),
}


@dataclass
class Story:
    """A run that is cut off, and what it is to come to.

    `start` is the file before it, or None; `to_do` is the number of images that it embeds.
    """

    photos: object
    settings: dict
    start: object
    to_do: int
    expected: object

    def begin(self, file):
        """Put the file there as it was before; give what `info` says of it."""
        if self.start is None:
            return None
        shutil.copy(self.start, file)
        return describe(file)

    def finish(self, file):
        return extract(self.photos, file, **self.settings)


def story(stage, count, folder):
    more, every = STAGES[stage]
    usual = {"backbone": "pixels", "batch_size": BATCH, "size": 16}
    photos, whole = folder / "photos", folder / "whole.h5"
    for number in range(count):
        write_image(photos / "ab"[number % 2] / f"{number:03d}.png", number)
    start = None
    if stage != "first extract":
        start = folder / "start.h5"
        fewer = shutil.copytree(photos, folder / "fewer")
        for path in sorted(fewer.glob("*/*"))[::every] if every else ():
            path.unlink()
        extract(fewer, start, **usual)
        shutil.copy(start, whole)
    to_do = extract(photos, whole, **usual, **more).computed
    return Story(photos, {**usual, **more}, start, to_do, rows_of(whole))


class Run:
    """A process that extracts, what it has told so far, and whether it had finished."""

    def __init__(self, story, file, last=None):
        self._told, tell = CONTEXT.Pipe(duplex=False)
        given = (tell, last, story.photos, file, story.settings)
        self._process = CONTEXT.Process(target=extract_watched, args=given, daemon=True)
        self._process.start()
        tell.close()
        self.moments, self.rows = [], 0

    def listen(self, moments=None):
        """Until it has come to so many moments, or to its end; false if it is at its end."""
        while moments is None or len(self.moments) < moments:
            try:
                kind, told = self._told.recv()
            except EOFError:
                return False
            if kind == "rows":
                self.rows += told
            else:
                self.moments.append(told)
        return True

    def kill(self):
        """Kill it, unless it has ended by itself, and hear what it had told; whether it had."""
        self._process.kill()
        self.listen()
        self._process.join()
        assert self._process.exitcode in (0, -signal.SIGKILL)
        return self._process.exitcode == 0


def assert_info_is_right(file, had, images, acknowledged):
    """What `info` says after a kill; `had` is what it said of the file before, if there was one."""
    beside = partial_path(file)
    if had is None:
        if not file.exists():
            assert not acknowledged
            return
        facts = describe(file)
        assert facts["images"] == images == facts["done"] + facts["waiting"]
        # A batch may be written and not acknowledged yet.
        assert acknowledged <= facts["done"] <= acknowledged + BATCH
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


def assert_finished(story, file, had, acknowledged):
    """What was acknowledged is there, and another run does the rest and no more."""
    assert_info_is_right(file, had, len(story.expected[0]), acknowledged)
    assert story.finish(file).computed <= story.to_do - acknowledged
    assert_same(file, story.expected)
    left = [path.name for path in file.parent.iterdir() if file.name in path.name]
    assert sorted(left) == [f".{file.name}.lock", file.name]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.slow
def test_killed_at_any_change_of_the_disk_it_is_finished_bit_for_bit(stage, tmp_path):
    given = story(stage, 7, tmp_path)
    (tmp_path / "tries").mkdir()
    file = tmp_path / "tries" / "whole.h5"
    given.begin(file)
    run = Run(given, file)
    assert not run.listen()
    assert run.kill()
    assert run.rows == given.to_do
    # A new file gets its name by the first; an update takes the place of the file by the second.
    assert run.moments.count("after replace") == (1 if given.start is None else 2)
    moments = run.moments
    for last in range(len(moments)):
        file = tmp_path / "tries" / f"{last}.h5"
        had = given.begin(file)
        run = Run(given, file, last)
        assert run.listen(last + 1)
        assert not run.kill()
        assert run.moments == moments[: last + 1]
        assert_finished(given, file, had, run.rows)


@pytest.mark.parametrize(
    ("kills", "count"), [(1, 60), pytest.param(50, 150, marks=pytest.mark.long)]
)
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_random_it_is_finished_bit_for_bit(stage, kills, count, tmp_path):
    given = story(stage, count, tmp_path)
    (tmp_path / "tries").mkdir()
    draw = random.Random(stage)
    killed = 0
    for number in itertools.count():
        file = tmp_path / "tries" / f"{number}.h5"
        had = given.begin(file)
        run = Run(given, file)
        run.listen(draw.randrange(2 * given.to_do // BATCH))
        time.sleep(draw.uniform(0, 0.01))
        killed += not run.kill()
        assert_finished(given, file, had, run.rows)
        if killed == kills:
            break


# Rows are acknowledged once the writer has written them: from then on they must survive. It waits
# to be killed after some batches.
VGG16 = """
import sys, time
from tlfeatures.features.file.writer import Writer
write, left = Writer.write, int(sys.argv[1])
def tell_rows(self, rows, *values):
    global left
    write(self, rows, *values)
    print(len(rows), flush=True)
    left -= 1
    if left == 0:
        time.sleep(600)
Writer.write = tell_rows
from tlfeatures.cli import main
main(sys.argv[2:])
"""


@pytest.mark.integration
@pytest.mark.parametrize(
    "kills", [[3], pytest.param(range(1, 10), marks=pytest.mark.long)], ids=len
)
def test_vgg16_cut_off_is_finished_bit_for_bit(kills, tmp_path, weights):
    """Ten batches; killed after some of them, and what is left is no whole number of batches."""
    for number in range(38):
        write_image(tmp_path / "photos" / "ab"[number % 2] / f"{number:03d}.png", number, 40)
    settings = {"backbone": "vgg16", "size": 32, "weights": weights, "batch_size": BATCH}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    extract(tmp_path / "photos", tmp_path / "whole.h5", **settings)
    for batches in kills:
        file = tmp_path / f"{batches}.h5"
        command = [sys.executable, "-c", VGG16, str(batches), "extract", tmp_path / "photos"]
        command += ["-o", file, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            acknowledged = sum(int(child.stdout.readline()) for _ in range(batches))
            child.kill()
        assert acknowledged == batches * BATCH
        assert_info_is_right(file, None, 38, acknowledged)
        assert extract(tmp_path / "photos", file, **settings).computed == 38 - acknowledged
        assert_same(file, rows_of(tmp_path / "whole.h5"))
