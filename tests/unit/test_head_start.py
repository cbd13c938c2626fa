"""A new file's first batches are embedded while its folder is still being listed and hashed."""

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import write_image
from tlfeatures import extract
from tlfeatures.errors import EngineError, SourceError, StoppedError
from tlfeatures.features import images
from tlfeatures.features.pixels import PixelBackbone
from tlfeatures.features.store import Reader

OPTIONS = {"backbone": "pixels", "size": 16, "batch_size": 4}


@pytest.fixture
def folder(tmp_path):
    for number in range(30):
        write_image(tmp_path / "photos" / "ab"[number // 15] / f"{number:02d}.png", number)
    shutil.copy(tmp_path / "photos" / "a" / "03.png", tmp_path / "photos" / "a" / "03again.png")
    (tmp_path / "photos" / "a" / "05broken.png").write_bytes(b"no image")
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr("tlfeatures.features.head_start._PATIENCE", 0.05)


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


class Recording(PixelBackbone):
    """A backbone that says what it was given, and at the second batch lets the listing go on."""

    def __init__(self, names, slow):
        super().__init__(names)
        self.slow, self.batches, self.listed = slow, [], []

    def embed(self, batch):
        self.batches.append(batch.copy())
        self.listed.append(self.slow.listed)
        if len(self.batches) == 2:
            self.slow.go_on.set()
        return super().embed(batch)


@pytest.fixture
def recorded(monkeypatch):
    def make(slow, **attributes):
        made = {}

        def load(spec, names, **_):
            backbone = made.setdefault(tuple(names), Recording(names, slow))
            for name, value in attributes.items():
                setattr(backbone, name, value)
            return backbone

        monkeypatch.setattr("tlfeatures.features.head_start.load_backbone", load)
        monkeypatch.setattr("tlfeatures.features.extract.load_backbone", load)
        return made

    return make


def rows_of(file):
    with Reader(file) as reader:
        header = reader.header
        tables = {name: reader.read(name) for name in header.embeddings}
        for name in header.embeddings if header.variants else ():
            tables[f"variants of {name}"] = reader.read_variants(name, header.variants)
        return header.ids, header.failures, tables


@pytest.mark.parametrize("augment", [0, 2])
@pytest.mark.parametrize("one_shape", [False, True])
def test_batches_are_embedded_while_files_are_still_being_listed(
    folder, tmp_path, monkeypatch, recorded, augment, one_shape
):
    options = OPTIONS | {"augment": augment}
    undisturbed = extract(folder, tmp_path / "whole.h5", **options)
    slow = Slow(monkeypatch, 20)
    made = recorded(slow, one_shape=one_shape)
    seen = []
    result = extract(
        folder, tmp_path / "early.h5", progress=lambda *counts: seen.append(counts), **options
    )
    (backbone,) = made.values()
    assert max(backbone.listed[:2]) <= 20  # of 32, when the first two batches were embedded
    assert (result.computed, result.failed) == (undisturbed.computed, undisturbed.failed)
    ids, failures, tables = rows_of(tmp_path / "early.h5")
    expected_ids, expected_failures, expected = rows_of(tmp_path / "whole.h5")
    assert (ids, failures, list(tables)) == (expected_ids, expected_failures, list(expected))
    for name, values in expected.items():
        np.testing.assert_array_equal(tables[name], values)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (31, 31)


def test_every_image_stands_where_it_would_without_a_head_start(
    folder, tmp_path, monkeypatch, recorded
):
    """Whose last bits depend on the place in a batch must see the very same batches."""
    slow = Slow(monkeypatch, 0)
    slow.go_on.set()
    without = recorded(slow, one_shape=True)
    with monkeypatch.context() as patch:
        patch.setattr("tlfeatures.features.extract.head_start", lambda *_: {})
        extract(folder, tmp_path / "without.h5", **OPTIONS)
    slow = Slow(monkeypatch, 20)
    early = recorded(slow, one_shape=True)
    extract(folder, tmp_path / "early.h5", **OPTIONS)
    (expected,), (found,) = without.values(), early.values()
    for number, (one, other) in enumerate(zip(expected.batches, found.batches, strict=True)):
        places = [place for place in range(4) if number * 4 + place not in (5, 31)]  # broken, none
        np.testing.assert_array_equal(one[places], other[places])


def test_a_folder_that_is_soon_listed_and_a_file_that_is_there_load_nothing_early(
    folder, tmp_path, monkeypatch
):
    def load(*_, **__):
        raise AssertionError("it may not be needed")

    monkeypatch.setattr("tlfeatures.features.head_start.load_backbone", load)
    shutil.rmtree(folder / "b")
    extract(folder, tmp_path / "x.h5", **OPTIONS | {"batch_size": 32})
    Slow(monkeypatch, 10).go_on.set()
    extract(folder, tmp_path / "x.h5", **OPTIONS)


def test_a_listing_that_fails_in_the_middle_leaves_no_file(folder, tmp_path, monkeypatch, recorded):
    slow = Slow(monkeypatch, 20, SourceError("b can't be listed"))
    recorded(slow)
    with pytest.raises(SourceError, match="b can't be listed"):
        extract(folder, tmp_path / "x.h5", **OPTIONS)
    assert not list(Path(tmp_path).glob("*.h5*"))


def test_no_more_is_kept_than_memory_is_set_aside(folder, tmp_path, monkeypatch, recorded):
    monkeypatch.setattr("tlfeatures.features.head_start._KEPT_BYTES", 1)
    slow = Slow(monkeypatch, 20)
    made = recorded(slow)
    threading.Timer(0.5, slow.go_on.set).start()
    extract(folder, tmp_path / "x.h5", **OPTIONS)
    (backbone,) = made.values()
    assert backbone.listed[0] <= 20  # one batch early,
    assert backbone.listed[1] == 32  # the next when all was listed


def test_who_is_asked_while_a_folder_is_listed_can_stop(folder, tmp_path, monkeypatch, recorded):
    slow = Slow(monkeypatch, 20)
    recorded(slow)
    asked = []

    def stop():
        asked.append(True)
        if len(asked) > 1:
            slow.go_on.set()  # so that the listing's thread ends, too
        return len(asked) > 1

    with pytest.raises(StoppedError, match="listed; 4 images that were embedded are not kept"):
        extract(folder, tmp_path / "x.h5", stop=stop, **OPTIONS)
    assert not list(tmp_path.glob("*.h5*"))


def test_a_folder_of_less_than_a_batch_has_the_shape_of_an_undisturbed_run(
    folder, tmp_path, monkeypatch, recorded
):
    shutil.rmtree(folder / "b")
    slow = Slow(monkeypatch, 15)
    made = recorded(slow, one_shape=True, most=64)
    threading.Timer(0.5, slow.go_on.set).start()
    monkeypatch.setattr("tlfeatures.features.head_start.checked_batch_size", lambda _: 4)
    extract(folder, tmp_path / "x.h5", **OPTIONS | {"batch_size": "auto"})
    (backbone,) = made.values()
    assert len(backbone.batches[-1]) == 16  # as 16 files are embedded without a head start
    kept = rows_of(tmp_path / "x.h5")[2]
    extract(folder, tmp_path / "whole.h5", **OPTIONS)
    for name, values in rows_of(tmp_path / "whole.h5")[2].items():
        np.testing.assert_array_equal(kept[name], values)


class Full(PixelBackbone):
    """A device with memory for three images."""

    shapes: list[int]

    def embed(self, images):
        self.shapes.append(len(images))
        if len(images) > 3:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")
        return super().embed(images)


def test_a_batch_that_does_not_fit_is_halved_until_it_does(folder, tmp_path, monkeypatch, caplog):
    extract(folder, tmp_path / "whole.h5", **OPTIONS)
    Full.shapes = []
    monkeypatch.setattr(
        "tlfeatures.features.extract.load_backbone", lambda spec, names, **_: Full(names)
    )
    monkeypatch.setattr("tlfeatures.features.extract.head_start", lambda *_: {})
    extract(folder, tmp_path / "x.h5", **OPTIONS | {"batch_size": "auto"})
    assert Full.shapes[:5] == [30, 15, 8, 4, 2]  # of 32 places, 2 have no image
    assert max(Full.shapes[4:]) <= 2
    assert "no memory for larger batches: going on with 2 images" in caplog.text
    for name, values in rows_of(tmp_path / "whole.h5")[2].items():
        np.testing.assert_array_equal(rows_of(tmp_path / "x.h5")[2][name], values)


def test_one_image_that_does_not_fit_is_an_error_that_says_what_to_do(
    folder, tmp_path, monkeypatch
):
    class NoMemory(PixelBackbone):
        def embed(self, images):
            raise RuntimeError("cpu_memory.cpp:257: Failed to allocate 655360000 bytes of memory")

    monkeypatch.setattr(
        "tlfeatures.features.extract.load_backbone", lambda spec, names, **_: NoMemory(names)
    )
    with pytest.raises(EngineError, match="one image of 16 x 16: give a smaller --size"):
        extract(folder, tmp_path / "x.h5", **OPTIONS)
