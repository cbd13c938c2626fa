"""What a second run computes where variants, layers or images are added."""

import shutil

import h5py
import numpy as np
import pytest

from tests.fakes import assert_same, decode, record_batches, rows_of, write_image
from tests.unit.data import TURNED, cut_off, extract_pixels
from tlfeatures.features.backbones.pixels import PixelBackbone
from tlfeatures.features.images.augment import Augmentation
from tlfeatures.features.images.reading import digest

VARIANTS = "variants of grid8.avg"  # as `rows_of` names them


@pytest.fixture
def passed(monkeypatch):
    """All batches that pass from here on; of one shape, as Keras's are."""
    return record_batches(monkeypatch, one_shape=True)


def passed_pixels(passed):
    return {image.tobytes() for batch in passed for image in batch if image.any()}


def pixels_of(photos, size=(16, 16)):
    return {path: decode(path.read_bytes(), size) for path in sorted(photos.glob("*/*.png"))}


def test_variants_are_added_without_the_images_passing_again(photos, file, tmp_path, passed):
    shutil.copy(photos / "red" / "red02.png", photos / "blue" / "copy.png")
    extract_pixels(photos, file)
    with h5py.File(file, "r+") as opened:  # marks that tell a carried row from a computed one
        opened["embeddings/grid8.avg"][:] += 100
    _, before = rows_of(file)
    passed.clear()
    result = extract_pixels(photos, file, augment=2, augment_spec=TURNED)
    assert (result.computed, result.reused, result.variants) == (24, 1, 2)
    _, after = rows_of(file)
    np.testing.assert_array_equal(after["grid8.avg"], before["grid8.avg"])
    assert not passed_pixels(passed) & {image.tobytes() for image in pixels_of(photos).values()}
    assert len(passed_pixels(passed)) == 48
    extract_pixels(photos, tmp_path / "whole.h5", augment=2, augment_spec=TURNED)
    _, whole = rows_of(tmp_path / "whole.h5")
    np.testing.assert_array_equal(after[VARIANTS], whole[VARIANTS])
    assert not list(tmp_path.glob("*.partial"))


def test_an_image_that_can_not_be_read_makes_no_other_pass_again(photos, file, passed):
    (photos / "red" / "broken.png").write_text("no image at all")
    extract_pixels(photos, file)
    passed.clear()
    extract_pixels(photos, file, augment=2, augment_spec=TURNED)
    assert not passed_pixels(passed) & {
        decode(path.read_bytes(), (16, 16)).tobytes() for path in photos.glob("*/*[0-9].png")
    }


def test_images_and_variants_added_at_once_are_as_if_always_there(photos, file, tmp_path):
    extract_pixels(photos, file)
    _, before = rows_of(file)
    write_image(photos / "red" / "zz.png", 1)
    extract_pixels(photos, file, augment=2)
    np.testing.assert_array_equal(rows_of(file)[1]["grid8.avg"][:24], before["grid8.avg"])
    extract_pixels(photos, tmp_path / "whole.h5", augment=2)
    assert_same(file, rows_of(tmp_path / "whole.h5"))


def test_a_layer_added_to_a_file_with_variants_has_them_too(photos, file, tmp_path):
    extract_pixels(photos, file, augment=2)
    with h5py.File(file, "r+") as opened:
        opened["embeddings/grid8.avg"][:] += 100
        opened["variants/grid8.avg"][:] += 200
    ids, before = rows_of(file)
    result = extract_pixels(photos, file, layers="grid4", pools="max")
    assert (result.computed, result.variants) == (24, 2)
    extract_pixels(photos, tmp_path / "whole.h5", layers="grid4", pools="max", augment=2)
    _, added = rows_of(tmp_path / "whole.h5")
    assert_same(file, (ids, before | added))


def test_added_images_alone_pass_with_their_variants(photos, file, passed):
    extract_pixels(photos, file, augment=2, augment_spec=TURNED)
    _, before = rows_of(file)
    write_image(photos / "red" / "zz.png", 1)
    passed.clear()
    result = extract_pixels(photos, file)
    assert (result.computed, result.reused) == (1, 24)
    assert len(passed_pixels(passed)) == 3
    after = rows_of(file)[1][VARIANTS]
    np.testing.assert_array_equal(after[:24], before[VARIANTS])
    data = (photos / "red" / "zz.png").read_bytes()
    stack = Augmentation.parse(2, TURNED).stack(digest(data), decode(data, (16, 16)))
    expected = PixelBackbone(["grid8.avg"]).embed(stack)["grid8.avg"]
    np.testing.assert_array_equal(after[24], expected[1:])


@pytest.mark.parametrize(
    "options",
    [{}, {"augment": 2}, {"augment_spec": TURNED}, {"augment": 2, "augment_spec": TURNED}],
)
def test_a_second_run_computes_nothing(photos, file, passed, options):
    extract_pixels(photos, file, augment=2, augment_spec=TURNED)
    before = file.read_bytes()
    passed.clear()
    result = extract_pixels(photos, file, **options)
    assert (result.computed, result.reused, result.variants, passed) == (0, 24, 2, [])
    assert file.read_bytes() == before


def test_variants_that_were_begun_are_finished_by_a_plain_run(photos, file, monkeypatch):
    extract_pixels(photos, file)
    before = file.read_bytes()
    cut_off(monkeypatch, 3, photos, file, augment=2)
    assert file.read_bytes() == before
    result = extract_pixels(photos, file)  # batches of two images with two variants each
    assert (result.computed, result.reused, result.variants) == (18, 6, 2)
    extract_pixels(photos, file.with_name("whole.h5"), augment=2)
    assert_same(file, rows_of(file.with_name("whole.h5")))
    assert not list(file.parent.glob("*.partial"))
