"""A new file's first batches are embedded while its folder is still being listed and hashed."""

import shutil
import threading

import numpy as np
import pytest

from tests.fakes import (
    Recording,
    SmallMemory,
    assert_same,
    record_batches,
    rows_of,
    use_backbone,
    write_image,
)
from tlfeatures import extract
from tlfeatures.errors import EngineError, SourceError, StoppedError
from tlfeatures.features import head_start
from tlfeatures.features.backbones.pixels import PixelBackbone
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.images import identify as images

OPTIONS = {"backbone": "pixels", "size": 16, "batch_size": 4}


@pytest.fixture
def folder(tmp_path):
    """Of 32 files two are the same image, and one is none."""
    for number in range(30):
        write_image(tmp_path / "photos" / "ab"[number // 15] / f"{number:02d}.png", number)
    shutil.copy(tmp_path / "photos" / "a" / "03.png", tmp_path / "photos" / "a" / "03again.png")
    (tmp_path / "photos" / "a" / "05broken.png").write_bytes(b"no image")
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(head_start, "PATIENCE", 0.05)


class Slow:
    """A folder whose listing goes on at the image of some number only once `go_on` is set."""

    def __init__(self, monkeypatch, number, error=None):
        self.go_on, self.listed = threading.Event(), 0
        real = images.list_images

        def listing(source):
            for count, image in enumerate(real(source)):
                if count == number:
                    assert self.go_on.wait(60)
                    if error:
                        raise error
                self.listed += 1
                yield image

        monkeypatch.setattr(images, "list_images", listing)


class Batches:
    """The batches of pixels from here on; at the second one the listing of `slow` goes on.

    `listed` has, of each batch, how many files were listed by then; `loaded` the same of each time
    that the backbone was loaded.
    """

    def __init__(self, monkeypatch, slow, **options):
        self.slow, self.batches, self.listed, self.loaded = slow, [], [], []
        use_backbone(monkeypatch, lambda names: self.load(names, options))

    def load(self, names, options):
        self.loaded.append(self.slow.listed)
        return Recording(PixelBackbone(names), self.batches, then=self.note, **options)

    def note(self):
        self.listed.append(self.slow.listed)
        if len(self.batches) == 2:
            self.slow.go_on.set()


@pytest.mark.parametrize("augment", [0, 2])
@pytest.mark.parametrize("one_shape", [False, True])
def test_batches_are_embedded_while_files_are_still_being_listed(
    folder, tmp_path, monkeypatch, augment, one_shape
):
    options = OPTIONS | {"augment": augment}
    undisturbed = extract(folder, tmp_path / "whole.h5", **options)
    made = Batches(monkeypatch, Slow(monkeypatch, 20), one_shape=one_shape)
    seen = []
    result = extract(
        folder, tmp_path / "early.h5", progress=lambda *counts: seen.append(counts), **options
    )
    assert max(made.listed[:2]) <= 20  # of 32, when the first two batches were embedded
    assert (result.computed, result.failed) == (undisturbed.computed, undisturbed.failed)
    early, whole = (read_header(tmp_path / name) for name in ("early.h5", "whole.h5"))
    assert early.failures == whole.failures
    assert_same(tmp_path / "early.h5", rows_of(tmp_path / "whole.h5"))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (31, 31)


def test_every_image_stands_where_it_would_without_a_head_start(folder, tmp_path, monkeypatch):
    """Whose last bits depend on the place in a batch must see the very same batches."""
    with monkeypatch.context() as patch:
        patch.setattr(head_start, "PATIENCE", 600.0)
        without = record_batches(monkeypatch, one_shape=True)
        extract(folder, tmp_path / "without.h5", **OPTIONS)
    early = Batches(monkeypatch, Slow(monkeypatch, 20), one_shape=True)
    extract(folder, tmp_path / "early.h5", **OPTIONS)
    assert len(early.loaded) == 2  # for the head start, and for the rest
    for number, (one, other) in enumerate(zip(without, early.batches, strict=True)):
        places = [place for place in range(4) if number * 4 + place not in (5, 31)]  # broken, none
        np.testing.assert_array_equal(one[places], other[places])


def test_a_folder_that_is_soon_listed_and_a_file_that_is_there_load_nothing_early(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(head_start, "PATIENCE", 600.0)
    shutil.rmtree(folder / "b")
    slow = Slow(monkeypatch, 0)
    slow.go_on.set()
    made = Batches(monkeypatch, slow)
    extract(folder, tmp_path / "x.h5", **OPTIONS)
    assert made.loaded == [17]  # once, when all files were listed
    monkeypatch.setattr(head_start, "PATIENCE", 0.05)
    slow = Slow(monkeypatch, 10)
    made = Batches(monkeypatch, slow)
    waiting = threading.Timer(0.5, slow.go_on.set)
    waiting.start()
    extract(folder, tmp_path / "x.h5", **OPTIONS)
    assert made.loaded == []
    waiting.join()


def test_a_listing_that_fails_in_the_middle_leaves_no_file(folder, tmp_path, monkeypatch):
    made = Batches(monkeypatch, Slow(monkeypatch, 20, SourceError("b can't be listed")))
    with pytest.raises(SourceError, match="b can't be listed"):
        extract(folder, tmp_path / "x.h5", **OPTIONS)
    assert len(made.batches) >= 2
    assert not list(tmp_path.glob("*.h5*"))


def test_no_more_is_kept_than_memory_is_set_aside(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(head_start, "KEPT_BYTES", 1)
    slow = Slow(monkeypatch, 20)
    made = Batches(monkeypatch, slow)
    asked = []

    def stop():  # asked before each batch, and while the rest of the listing is waited for
        asked.append(True)
        if len(asked) == 3:
            slow.go_on.set()
        return False

    extract(folder, tmp_path / "x.h5", stop=stop, **OPTIONS)
    assert made.listed[0] <= 20  # one batch early,
    assert made.listed[1] == 32  # the next when all was listed


def test_who_is_asked_while_a_folder_is_listed_can_stop(folder, tmp_path, monkeypatch):
    slow = Slow(monkeypatch, 20)
    Batches(monkeypatch, slow)
    asked = []

    def stop():
        asked.append(True)
        if len(asked) > 1:
            slow.go_on.set()  # so that the listing's thread ends, too
        return len(asked) > 1

    with pytest.raises(StoppedError, match="listed; 4 images that were embedded are not kept"):
        extract(folder, tmp_path / "x.h5", stop=stop, **OPTIONS)
    assert not list(tmp_path.glob("*.h5*"))


def test_a_folder_of_less_than_a_batch_has_the_shape_of_an_undisturbed_run(tmp_path, monkeypatch):
    for number in range(40):
        write_image(tmp_path / "photos" / f"{number:02d}.png", number)
    options = OPTIONS | {"batch_size": "auto"}
    extract(tmp_path / "photos", tmp_path / "whole.h5", **options)
    slow = Slow(monkeypatch, 36)
    made = Batches(monkeypatch, slow, one_shape=True, most=128)
    loading = made.load

    def load(names, options):
        slow.go_on.set()
        return loading(names, options)

    made.load = load
    extract(tmp_path / "photos", tmp_path / "x.h5", **options)
    assert made.loaded[0] <= 36  # of 40, so there was a head start
    assert len(made.loaded) == 2
    assert len(made.batches[-1]) == 64  # as 40 files are embedded without a head start
    assert_same(tmp_path / "x.h5", rows_of(tmp_path / "whole.h5"))


# ---- little memory


@pytest.fixture
def patient(monkeypatch):
    """No head start, whose batches would be counted, too."""
    monkeypatch.setattr(head_start, "PATIENCE", 600.0)


def test_a_batch_that_does_not_fit_is_halved_until_it_does(
    folder, tmp_path, monkeypatch, caplog, patient
):
    extract(folder, tmp_path / "whole.h5", **OPTIONS)
    full = RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")
    made = []

    def load(names):
        made.append(SmallMemory(PixelBackbone(names), 3, full))
        return made[-1]

    use_backbone(monkeypatch, load)
    extract(folder, tmp_path / "x.h5", **OPTIONS | {"batch_size": "auto"})
    (backbone,) = made
    assert backbone.asked[:5] == [30, 15, 8, 4, 2]  # of 32 places, 2 have no image
    assert max(backbone.asked[4:]) <= 2
    assert "no memory for larger batches: going on with 2 images" in caplog.text
    assert_same(tmp_path / "x.h5", rows_of(tmp_path / "whole.h5"))


def test_one_image_that_does_not_fit_is_an_error_that_says_what_to_do(
    folder, tmp_path, monkeypatch, patient
):
    full = RuntimeError("cpu_memory.cpp:257: Failed to allocate 655360000 bytes of memory")
    use_backbone(monkeypatch, lambda names: SmallMemory(PixelBackbone(names), 0, full))
    with pytest.raises(EngineError, match="one image of 16 x 16: give a smaller --size"):
        extract(folder, tmp_path / "x.h5", **OPTIONS)
