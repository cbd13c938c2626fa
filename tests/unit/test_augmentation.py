"""How variants of an image look, and what they follow from."""

import hashlib
import math

import numpy as np
import pytest
from scipy.ndimage import center_of_mass, map_coordinates
from scipy.stats import kstest

from tlfeatures.features.images.augment import Augmentation
from tlfeatures.features.images.reading import digest

DIGEST = digest(b"an image")


ALL = {
    "rotation": 40.0,
    "zoom": 0.3,
    "shift": 0.2,
    "brightness": 0.4,
    "horizontal_flip": True,
    "vertical_flip": True,
}


def picture(seed=0, height=20, width=27):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def disc(y, x, side=101, radius=4):
    """A white disc on black; its centre of mass says where it has gone."""
    rows, columns = np.mgrid[:side, :side]
    inside = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return np.where(inside, 255, 0).astype(np.uint8)[..., None].repeat(3, axis=2)


def found(variants):
    """Where the discs are, relative to the centre."""
    centre = (np.array(variants.shape[1:3]) - 1) / 2
    return np.array([center_of_mass(each[..., 0].astype(float)) for each in variants]) - centre


def variants_of(pixels, count, seed=0, **how):
    return Augmentation.parse(count, {**how, "seed": seed}).stack(DIGEST, pixels)[1:]


# ---- what variants follow from


def test_the_first_of_the_stack_is_the_image_itself():
    stack = Augmentation(3, **ALL).stack(DIGEST, picture())
    assert (stack.shape, stack.dtype) == ((4, 20, 27, 3), np.uint8)
    assert (stack[0] == picture()).all()


def test_the_same_pixels_digest_seed_and_number_give_the_same_variant():
    few, many = (Augmentation(count, **ALL).stack(DIGEST, picture()) for count in (2, 7))
    assert (many[:3] == few).all()
    assert len({each.tobytes() for each in many}) == 8
    assert (Augmentation(7, **ALL).stack(DIGEST, picture()) == many).all()


def test_another_seed_or_digest_gives_other_variants():
    usual = Augmentation(5, **ALL).stack(DIGEST, picture())[1:]
    seeded = Augmentation(5, **ALL, seed=1).stack(DIGEST, picture())[1:]
    elsewhere = Augmentation(5, **ALL).stack(digest(b"another"), picture())[1:]
    assert len({each.tobytes() for each in (*usual, *seeded, *elsewhere)}) == 15


def test_a_stack_leaves_the_pixels_alone_and_takes_read_only_ones():
    pixels = picture()
    pixels.setflags(write=False)
    Augmentation(2, **ALL).stack(DIGEST, pixels)
    assert (pixels == picture()).all()


def test_nothing_drawn_is_no_change():
    assert (variants_of(picture(), 3) == picture()).all()


# ---- what they look like


def by_hand(
    pixels, number, seed, rotation, zoom, shift, brightness, horizontal_flip, vertical_flip
):
    """Each pixel's origin one transformation after the other; the draws are those of sha256."""
    drawn = hashlib.sha256(f"{seed} {number} ".encode() + DIGEST).digest()
    draw = [int.from_bytes(drawn[i : i + 4], "big") / 2**31 - 1 for i in range(0, 32, 4)]
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    y = -y if vertical_flip and draw[6] < 0 else y
    x = -x if horizontal_flip and draw[7] < 0 else x
    y, x = y * (1 + zoom * draw[1]), x * (1 + zoom * draw[2])
    angle = math.radians(rotation * draw[0])
    y, x = math.cos(angle) * y + math.sin(angle) * x, math.cos(angle) * x - math.sin(angle) * y
    y = y + (height - 1) / 2 + shift * draw[3] * height
    x = x + (width - 1) / 2 + shift * draw[4] * width
    channels = [
        map_coordinates(pixels[..., each].astype(float), [y, x], order=1, mode="nearest")
        for each in range(3)
    ]
    return (np.stack(channels, axis=2) * (1 + brightness * draw[5])).clip(0, 255)


@pytest.mark.parametrize("how", [ALL, *({name: value} for name, value in ALL.items())])
def test_variants_are_those_of_an_independent_computation(how):
    full = {name: type(value)(how.get(name, 0)) for name, value in ALL.items()}
    for number, variant in enumerate(variants_of(picture(), 12, seed=5, **how), 1):
        expected = by_hand(picture(), number, 5, **full)
        assert np.abs(variant - expected).max() < 0.51


def test_flips_alone_mirror_the_pixels_exactly():
    both = variants_of(picture(), 40, horizontal_flip=True, vertical_flip=True)
    mirrored = {picture()[::v, ::h].tobytes() for v in (1, -1) for h in (1, -1)}
    assert {each.tobytes() for each in both} == mirrored
    horizontal = variants_of(picture(), 20, horizontal_flip=True)
    assert {each.tobytes() for each in horizontal} == {
        picture().tobytes(),
        picture()[:, ::-1].tobytes(),
    }
    vertical = variants_of(picture(), 20, vertical_flip=True)
    assert {each.tobytes() for each in vertical} == {picture().tobytes(), picture()[::-1].tobytes()}


def test_about_half_of_the_variants_are_flipped_each_way_apart():
    small = picture(height=2, width=3)
    made = variants_of(small, 1000, horizontal_flip=True, vertical_flip=True)
    for down in (1, -1):
        for across in (1, -1):
            share = (made == small[::down, ::across]).all(axis=(1, 2, 3)).mean()
            assert 0.2 < share < 0.3


def uniform(values, low, high):
    return kstest(values, "uniform", (low, high - low)).pvalue > 1e-3


def test_rotation_turns_about_the_centre_to_either_side_up_to_its_degrees():
    places = found(variants_of(disc(50, 85), 200, rotation=30))
    angles = np.degrees(np.arctan2(places[:, 0], places[:, 1]))
    assert np.abs(angles).max() < 30.2
    assert uniform(angles, -30, 30)
    np.testing.assert_allclose(np.hypot(*places.T), 35, atol=0.3)


def test_zoom_scales_height_and_width_apart_by_up_to_its_share():
    down = found(variants_of(disc(75, 50), 200, zoom=0.2))
    right = found(variants_of(disc(50, 75), 200, zoom=0.2))
    np.testing.assert_allclose([down[:, 1], right[:, 0]], 0, atol=0.1)
    heights, widths = 25 / down[:, 0], 25 / right[:, 1]
    for factors in (heights, widths):
        assert (factors.min() > 0.79, factors.max() < 1.21) == (True, True)
        assert uniform(factors, 0.8, 1.2)
    assert abs(np.corrcoef(heights, widths)[0, 1]) < 0.3


def test_shift_moves_up_to_its_share_of_each_side():
    places = found(variants_of(disc(50, 50), 200, shift=0.25))
    assert np.abs(places).max() < 25.3
    assert uniform(places[:, 0], -25.25, 25.25)
    assert uniform(places[:, 1], -25.25, 25.25)
    assert abs(np.corrcoef(places.T)[0, 1]) < 0.3


def test_brightness_multiplies_by_up_to_its_share_and_is_cut_at_white():
    factors = variants_of(np.full((2, 2, 3), 100, np.uint8), 1000, brightness=0.5)
    assert (factors == factors[:, :1, :1, :1]).all()
    values = factors[:, 0, 0, 0]
    assert (values.min() >= 50, values.max() <= 150) == (True, True)
    assert uniform(values + np.linspace(-0.5, 0.5, 1000), 50, 150)
    white = variants_of(np.full((2, 2, 3), 250, np.uint8), 50, brightness=0.9)
    assert (white.max(), white.min() >= 25) == (255, True)
    assert (variants_of(np.zeros((2, 2, 3), np.uint8), 5, brightness=0.9) == 0).all()


# ---- exactly


def draws(*values):
    """Turn, zoom of height and width, shift of each, brightness, flips; what is left out is 0."""
    return np.array([*values, *[0.0] * 8][:8])


def test_a_shift_of_whole_pixels_moves_them_and_continues_the_edge():
    moved = Augmentation(1, shift=0.25).transform(
        picture(height=8, width=12), draws(0, 0, 0, 1, -0.5)
    )
    pixels = picture(height=8, width=12)[2:, :]
    pixels = np.concatenate([pixels, pixels[-1:], pixels[-1:]])  # two rows up
    edge = pixels[:, :1].repeat(2, axis=1)
    expected = np.concatenate([edge, pixels], axis=1)[:, :12]
    assert np.abs(moved - expected[:, :12].astype(int)).max() > 0  # 1.5 columns, not 2
    moved = Augmentation(1, shift=0.25).transform(
        picture(height=8, width=12), draws(0, 0, 0, 1, -2 / 3)
    )
    assert np.abs(moved - expected.astype(int)).max() <= 1


def test_a_quarter_turn_and_a_half_turn_are_exact():
    square = picture(height=9, width=9)
    quarter = Augmentation(1, rotation=180).transform(square, draws(0.5))
    assert (quarter == np.rot90(square)).all()
    half = Augmentation(1, rotation=180).transform(picture(), draws(1))
    assert (half == picture()[::-1, ::-1]).all()


def test_a_zoom_by_half_takes_every_pixel_between():
    ramp = np.arange(0, 250, 10, dtype=np.uint8)[None, :, None].repeat(9, 0).repeat(3, 2)
    larger = Augmentation(1, zoom=0.5).transform(ramp, draws(0, 0, -1))
    assert (larger[0, :, 0] == np.arange(60, 185, 5)).all()
    smaller = Augmentation(1, zoom=0.5).transform(ramp, draws(0, 0, 1))
    assert (smaller[0, :5, 0] == [0, 0, 0, 0, 0]).all()
    assert (smaller[0, 5:20, 0] == np.arange(15, 240, 15)).all()
    assert (smaller[0, 20:, 0] == 240).all()
