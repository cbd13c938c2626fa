"""The photographs that tests cut out of packages: the same each time, and no two alike."""

import numpy as np
import pytest

from tests.photographs import PLACES, TEXTURE_SIDE, TEXTURES, crops, save_crops


@pytest.mark.parametrize(
    ("classes", "side", "count"), [(PLACES, 64, 30), (TEXTURES, TEXTURE_SIDE, 90)]
)
def test_no_two_crops_are_alike_and_a_start_goes_on(classes, side, count):
    for name in classes.values():
        pixels = [np.asarray(crop) for crop in crops(name, side, count)]
        assert all(each.shape == (side, side, 3) for each in pixels)
        assert len({each.tobytes() for each in pixels}) == count
        rest = [np.asarray(crop) for crop in crops(name, side, count - 5, 5)]
        np.testing.assert_array_equal(rest, pixels[5:])


def test_folders_are_the_same_each_time(tmp_path):
    one, two = (save_crops(tmp_path / name, PLACES, 2, 3) for name in ("one", "two"))
    names = sorted(path.relative_to(one) for path in one.glob("*/*"))
    assert len(names) == 8
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def test_a_photograph_has_only_so_many_crops():
    with pytest.raises(ValueError, match="china has 15 crops of 96 pixels, not 16"):
        crops("china", 96, 10, 6)
