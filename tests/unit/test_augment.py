"""Variants of images: how they look, and how they come into the file and stay there."""

import contextlib
import hashlib
import json
import math
import shutil
from collections import namedtuple
from dataclasses import asdict, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import center_of_mass, map_coordinates
from scipy.stats import kstest

from tests.fakes import write_image
from tlfeatures import describe, extract
from tlfeatures.cli import main
from tlfeatures.errors import FormatError, ParameterError, SpecError, StoreError
from tlfeatures.features import augment, store
from tlfeatures.features.augment import MOST_VARIANTS, Augmentation
from tlfeatures.features.images import decode, digest, scan
from tlfeatures.features.pixels import PixelBackbone
from tlfeatures.features.plan import _layers_and_pools
from tlfeatures.features.spec import Spec
from tlfeatures.features.store import Reader, read_header

FIXTURE = Path(__file__).parents[1] / "fixtures" / "embeddings-v1.h5"
DIGEST = digest(b"an image")
TURNED = "rotation=30,brightness=0.2,seed=3"
ALL = {
    "rotation": 40.0,
    "zoom": 0.3,
    "shift": 0.2,
    "brightness": 0.4,
    "horizontal_flip": True,
    "vertical_flip": True,
}
SPEC = Spec(
    backbone="pixels", size=(8, 8), precision="float32", weights="none", weights_sha256=None
)
examples = settings(max_examples=100, deadline=None)


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
    return Augmentation.of(count, {**how, "seed": seed}).stack(DIGEST, pixels)[1:]


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


@pytest.fixture
def drawn(monkeypatch):
    """Choose the draws: turn, zoom of height and width, shift of each, brightness, flips."""

    def choose(*values):
        monkeypatch.setattr(augment, "_draw", lambda *_: np.array([*values, *[0.0] * 8][:8]))

    return choose


def test_a_shift_of_whole_pixels_moves_them_and_continues_the_edge(drawn):
    drawn(0, 0, 0, 1, -0.5)
    (moved,) = variants_of(picture(height=8, width=12), 1, shift=0.25)
    pixels = picture(height=8, width=12)[2:, :]
    pixels = np.concatenate([pixels, pixels[-1:], pixels[-1:]])  # two rows up
    edge = pixels[:, :1].repeat(2, axis=1)
    expected = np.concatenate([edge, pixels], axis=1)[:, :12]
    assert np.abs(moved - expected[:, :12].astype(int)).max() > 0  # 1.5 columns, not 2
    drawn(0, 0, 0, 1, -2 / 3)
    (moved,) = variants_of(picture(height=8, width=12), 1, shift=0.25)
    assert np.abs(moved - expected.astype(int)).max() <= 1


def test_a_quarter_turn_and_a_half_turn_are_exact(drawn):
    square = picture(height=9, width=9)
    drawn(0.5)
    (quarter,) = variants_of(square, 1, rotation=180)
    assert quarter.tobytes() in {np.rot90(square, times).tobytes() for times in (1, 3)}
    drawn(1)
    (half,) = variants_of(picture(), 1, rotation=180)
    assert (half == picture()[::-1, ::-1]).all()


def test_a_zoom_by_half_takes_every_pixel_between(drawn):
    ramp = np.arange(0, 250, 10, dtype=np.uint8)[None, :, None].repeat(9, 0).repeat(3, 2)
    drawn(0, 0, -1)
    (larger,) = variants_of(ramp, 1, zoom=0.5)
    assert (larger[0, :, 0] == np.arange(60, 185, 5)).all()
    drawn(0, 0, 1)
    (smaller,) = variants_of(ramp, 1, zoom=0.5)
    assert (smaller[0, :5, 0] == [0, 0, 0, 0, 0]).all()
    assert (smaller[0, 5:20, 0] == np.arange(15, 240, 15)).all()
    assert (smaller[0, 20:, 0] == 240).all()


# ---- what can be asked for

numbers = {
    name: st.floats(0, largest)
    for name, largest in (("rotation", 180), ("zoom", 0.9), ("shift", 0.9), ("brightness", 0.9))
}
augmentations = st.builds(
    Augmentation,
    variants=st.integers(1, MOST_VARIANTS),
    **numbers,
    horizontal_flip=st.booleans(),
    vertical_flip=st.booleans(),
    seed=st.integers(0, 2**64),
)


def test_text_and_mapping_give_the_same():
    text = (
        " rotation=30, zoom = 0.2,shift=.1,brightness=0,horizontal_flip,vertical_flip=False,seed=7"
    )
    mapping = {
        "rotation": 30,
        "zoom": 0.2,
        "shift": 0.1,
        "horizontal_flip": True,
        "seed": 7,
    }
    expected = Augmentation(4, 30.0, 0.2, 0.1, 0.0, True, False, 7)
    assert Augmentation.of(4, text) == Augmentation.of(4, mapping) == expected
    assert json.dumps(asdict(Augmentation.of(4, text))) == json.dumps(
        asdict(Augmentation.of(4, mapping | {"brightness": 0}))
    )
    assert Augmentation.of(4, "") == Augmentation.of(4, {}) == Augmentation(4)


@examples
@given(augmentations)
def test_its_words_are_read_back(wanted):
    assert Augmentation.of(wanted.variants, wanted.in_words()) == wanted


@pytest.mark.parametrize(
    "how", ["rotation=30,zoom=0.2,horizontal_flip", "vertical_flip,seed=4", "shift=0.1", TURNED]
)
def test_its_words_are_those_it_was_asked_for_in(how):
    assert sorted(Augmentation.of(2, how).in_words().split(",")) == sorted(how.split(","))


@examples
@given(augmentations)
def test_a_mapping_of_its_attributes_gives_it_again(wanted):
    named = {name: value for name, value in asdict(wanted).items() if name in (*ALL, "seed")}
    assert Augmentation.of(wanted.variants, named) == wanted


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("rotaton=30", "no part of an augment spec 'rotaton'; there are: rotation"),
        ("=3", "no part of an augment spec ''"),
        ("variants=3", "no part of an augment spec 'variants'"),
        ("rule=none", "no part of an augment spec 'rule'"),
        ("rotation", "rotation is True; expected a number"),
        ("rotation=", "rotation is ''; expected a number"),
        ("rotation=far", "rotation is 'far'; expected a number"),
        ("rotation=181", "rotation is 181.0; expected a number from 0 to 180"),
        ("rotation=-1", "rotation is -1.0; expected a number from 0 to 180"),
        ("rotation=nan", "rotation is nan"),
        ("zoom=inf", "zoom is inf; expected a number from 0 to 0.9"),
        ("zoom=1", "zoom is 1.0; expected a number from 0 to 0.9"),
        ("shift=0.91", "shift is 0.91"),
        ("brightness=2", "brightness is 2.0"),
        ("horizontal_flip=1", "horizontal_flip is 1.0; expected true or false"),
        ("vertical_flip=perhaps", "vertical_flip is 'perhaps'; expected true or false"),
        ("seed=1.5", "seed is '1.5'; expected a whole number"),
        ("seed", "seed is True; expected a whole number"),
        ("seed=-1", "seed is -1; expected 0 or more"),
        ({"rotation": "30"}, "rotation is '30'; expected a number"),
        ({"zoom": None}, "zoom is None; expected a number"),
        ({"shift": [0.1]}, "expected a number"),
        ({"horizontal_flip": 1}, "horizontal_flip is 1; expected true or false"),
        ({"seed": 1.0}, "seed is 1.0; expected a whole number"),
        ({"seed": True}, "seed is True; expected a whole number"),
        ({3: 4}, "no part of an augment spec '3'"),
        ({"variants": 3}, "no part of an augment spec 'variants'"),
    ],
)
def test_what_can_not_be_is_one_clear_error(how, message):
    with pytest.raises(ParameterError, match=message) as caught:
        Augmentation.of(2, how)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("variants", [0, -1, MOST_VARIANTS + 1, 1.0, "2", True, None])
def test_so_many_variants_can_not_be(variants):
    with pytest.raises(ParameterError, match=r"augment is .* 0 to 1000|variants is .* whole"):
        Augmentation.of(variants, "")


@examples
@given(augmentations | st.none())
def test_a_spec_with_or_without_variants_is_read_as_it_was_written(wanted):
    spec = replace(SPEC, augmentation=wanted)
    assert Spec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert spec.differences(SPEC) == []


WRITTEN = asdict(Augmentation(2, **ALL))


@pytest.mark.parametrize(
    "damaged",
    [
        [],
        3,
        "rotation=3",
        {},
        {**WRITTEN, "more": 1},
        {name: value for name, value in WRITTEN.items() if name != "seed"},
        {**WRITTEN, "rule": "other"},
        {**WRITTEN, "rule": None},
        {**WRITTEN, "variants": 0},
        {**WRITTEN, "variants": 10**9},
        {**WRITTEN, "variants": 2.0},
        {**WRITTEN, "variants": "2"},
        {**WRITTEN, "rotation": 400},
        {**WRITTEN, "rotation": float("nan")},
        {**WRITTEN, "zoom": None},
        {**WRITTEN, "shift": []},
        {**WRITTEN, "brightness": True},
        {**WRITTEN, "horizontal_flip": 1},
        {**WRITTEN, "vertical_flip": "x" * 5000},
        {**WRITTEN, "seed": -3},
        {**WRITTEN, "seed": "x" * 5000},
    ],
)
def test_a_damaged_augmentation_is_refused(damaged):
    with pytest.raises(FormatError, match="augmentation"):
        Spec.from_dict({**SPEC.to_dict(), "augmentation": damaged})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)


@examples
@given(st.sampled_from(sorted(WRITTEN)), json_values)
def test_any_value_in_its_place_is_taken_or_refused(name, value):
    try:
        made = Augmentation.from_dict({**WRITTEN, name: value})
    except FormatError:
        return
    assert asdict(made) == {**WRITTEN, name: value}


# ---- extraction


@pytest.fixture
def file(tmp_path):
    return tmp_path / "photos.h5"


def run(photos, file, **options):
    return extract(photos, file, **({"backbone": "pixels", "size": 16, "batch_size": 5} | options))


Rows = namedtuple("Rows", "ids images variants")


def rows_of(file, name="grid8.avg"):
    with Reader(file) as reader:
        ids, done, count = reader.header.ids, reader.header.done, reader.header.variants
        variants = reader.read_variants(name, count) if count else np.empty(0)
        return Rows([ids[row] for row in np.flatnonzero(done)], reader.read(name), variants)


def assert_same(one, other):
    assert one.ids == other.ids
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.variants, other.variants)


class Spied(PixelBackbone):
    """The pixel backbone that keeps what passes."""

    one_shape = True  # as Keras's
    passed: list[np.ndarray]

    def embed(self, images):
        self.passed.append(images.copy())
        return super().embed(images)


@pytest.fixture
def passed(monkeypatch):
    """All batches that pass from here on."""
    batches = []

    def load(spec, names, **_):
        backbone = Spied(names)
        backbone.passed = batches
        return backbone

    monkeypatch.setattr("tlfeatures.features.extract.load_backbone", load)
    return batches


def passed_pixels(passed):
    return {image.tobytes() for batch in passed for image in batch if image.any()}


def pixels_of(photos, size=(16, 16)):
    return {path: decode(path.read_bytes(), size) for path in sorted(photos.glob("*/*.png"))}


def test_rows_of_variants_are_those_of_each_variant_by_hand(photos, file):
    result = run(photos, file, layers=["grid8", "grid4.flatten"], augment=3, augment_spec=TURNED)
    assert (result.images, result.computed, result.variants) == (24, 24, 3)
    names = ["grid8.avg", "grid4.flatten"]
    backbone, how = PixelBackbone(names), Augmentation.of(3, TURNED)
    for name in names:
        got = rows_of(file, name)
        assert got.variants.shape == (24, 3, got.images.shape[1])
        for id_, image, variants in zip(*got, strict=True):
            data = (photos / id_).read_bytes()
            expected = backbone.embed(how.stack(digest(data), decode(data, (16, 16))))[name]
            np.testing.assert_array_equal(np.stack([image, *variants]), expected)


def test_the_first_variants_of_every_finished_row_are_read(photos, file):
    run(photos, file, augment=3, dtype="float16")
    whole = rows_of(file).variants
    with Reader(file) as reader:
        for count in range(4):
            few = reader.read_variants("grid8.avg", count)
            assert (few.shape, few.dtype) == ((24, count, 3), np.float32)
            np.testing.assert_array_equal(few, whole[:, :count])
    with h5py.File(file, "r+") as opened:
        opened["done"][3] = False
    with Reader(file) as reader:
        expected = np.delete(whole, 3, axis=0)[:, :2]
        np.testing.assert_array_equal(reader.read_variants("grid8.avg", 2), expected)


def test_images_themselves_are_as_without_variants(photos, file, tmp_path):
    run(photos, file, augment=2)
    run(photos, tmp_path / "plain.h5")
    np.testing.assert_array_equal(rows_of(file).images, rows_of(tmp_path / "plain.h5").images)
    assert rows_of(tmp_path / "plain.h5").variants.size == 0
    with h5py.File(tmp_path / "plain.h5") as opened:
        assert "variants" not in opened


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 32, 500])
@pytest.mark.parametrize("added", [False, True])
def test_every_batch_size_gives_the_same_rows(photos, file, tmp_path, passed, batch_size, added):
    shutil.rmtree(photos / "blue")
    (photos / "red" / "red11.png").unlink()
    run(photos, tmp_path / "other.h5", augment=4, layers="grid4", pools="flatten")
    options = {"batch_size": batch_size, "layers": "grid4", "pools": "flatten"}
    if added:
        run(photos, file, **options)
    passed.clear()
    assert run(photos, file, augment=4, **options).computed == 11
    other = tmp_path / "other.h5"
    assert_same(rows_of(file, "grid4.flatten"), rows_of(other, "grid4.flatten"))
    assert len({batch.shape for batch in passed}) == 1  # another would be compiled anew
    assert len(passed[0]) <= batch_size
    needed = 11 * (4 if added else 5)
    assert needed <= sum(map(len, passed)) < 2 * needed


def test_variants_do_not_depend_on_folder_order_or_company(photos, file, tmp_path):
    run(photos, file, augment=3, augment_spec=TURNED)
    other = tmp_path / "elsewhere" / "z"
    other.mkdir(parents=True)
    for number, path in enumerate(sorted(photos.glob("red/*"), reverse=True)[:7]):
        shutil.copy(path, other / f"{number}.png")
    run(other.parent, tmp_path / "z.h5", augment=2, augment_spec=TURNED, batch_size=2)
    here, there = rows_of(file), rows_of(tmp_path / "z.h5")
    last = [here.ids.index(f"red/red{number:02d}.png") for number in range(11, 4, -1)]
    np.testing.assert_array_equal(here.variants[last, :2], there.variants)
    run(photos, tmp_path / "seed.h5", augment=3, augment_spec=TURNED.replace("3", "4"))
    assert (rows_of(tmp_path / "seed.h5").variants != here.variants).any(axis=2).all()


def test_identical_files_have_the_same_variants_and_are_computed_once(photos, file):
    shutil.copy(photos / "red" / "red02.png", photos / "blue" / "copy.png")
    result = run(photos, file, augment=2)
    assert (result.computed, result.reused) == (24, 1)
    got = rows_of(file)
    one, two = (got.ids.index(id_) for id_ in ("red/red02.png", "blue/copy.png"))
    np.testing.assert_array_equal(got.variants[one], got.variants[two])
    shutil.copy(photos / "red" / "red02.png", photos / "blue" / "again.png")
    assert (run(photos, file).computed, len(rows_of(file).ids)) == (0, 26)
    got = rows_of(file)
    np.testing.assert_array_equal(
        got.variants[got.ids.index("blue/again.png")], got.variants[got.ids.index("red/red02.png")]
    )


def test_variants_are_added_without_the_images_passing_again(photos, file, tmp_path, passed):
    shutil.copy(photos / "red" / "red02.png", photos / "blue" / "copy.png")
    run(photos, file)
    with h5py.File(file, "r+") as opened:  # marks that tell a carried row from a computed one
        opened["embeddings/grid8.avg"][:] += 100
    before = rows_of(file)
    passed.clear()
    result = run(photos, file, augment=2, augment_spec=TURNED)
    assert (result.computed, result.reused, result.variants) == (24, 1, 2)
    after = rows_of(file)
    np.testing.assert_array_equal(after.images, before.images)
    assert not passed_pixels(passed) & {image.tobytes() for image in pixels_of(photos).values()}
    assert len(passed_pixels(passed)) == 48
    run(photos, tmp_path / "whole.h5", augment=2, augment_spec=TURNED)
    np.testing.assert_array_equal(after.variants, rows_of(tmp_path / "whole.h5").variants)
    assert not list(tmp_path.glob("*.partial"))


def test_an_image_that_can_not_be_read_makes_no_other_pass_again(photos, file, passed):
    (photos / "red" / "broken.png").write_text("no image at all")
    run(photos, file)
    passed.clear()
    run(photos, file, augment=2, augment_spec=TURNED)
    assert not passed_pixels(passed) & {
        decode(path.read_bytes(), (16, 16)).tobytes() for path in photos.glob("*/*[0-9].png")
    }


def test_images_and_variants_added_at_once_are_as_if_always_there(photos, file, tmp_path):
    run(photos, file)
    before = rows_of(file)
    write_image(photos / "red" / "zz.png", 1)
    run(photos, file, augment=2)
    np.testing.assert_array_equal(rows_of(file).images[:24], before.images)
    run(photos, tmp_path / "whole.h5", augment=2)
    assert_same(rows_of(file), rows_of(tmp_path / "whole.h5"))


def test_a_layer_added_to_a_file_with_variants_has_them_too(photos, file, tmp_path):
    run(photos, file, augment=2)
    with h5py.File(file, "r+") as opened:
        opened["embeddings/grid8.avg"][:] += 100
        opened["variants/grid8.avg"][:] += 200
    before = rows_of(file)
    result = run(photos, file, layers="grid4", pools="max")
    assert (result.computed, result.variants) == (24, 2)
    assert_same(rows_of(file), before)
    run(photos, tmp_path / "whole.h5", layers="grid4", pools="max", augment=2)
    assert_same(rows_of(file, "grid4.max"), rows_of(tmp_path / "whole.h5", "grid4.max"))


def test_added_images_alone_pass_with_their_variants(photos, file, passed):
    run(photos, file, augment=2, augment_spec=TURNED)
    before = rows_of(file)
    write_image(photos / "red" / "zz.png", 1)
    passed.clear()
    result = run(photos, file)
    assert (result.computed, result.reused) == (1, 24)
    assert len(passed_pixels(passed)) == 3
    after = rows_of(file)
    np.testing.assert_array_equal(after.variants[:24], before.variants)
    data = (photos / "red" / "zz.png").read_bytes()
    stack = Augmentation.of(2, TURNED).stack(digest(data), decode(data, (16, 16)))
    expected = PixelBackbone(["grid8.avg"]).embed(stack)["grid8.avg"]
    np.testing.assert_array_equal(after.variants[24], expected[1:])


@pytest.mark.parametrize(
    "options",
    [{}, {"augment": 2}, {"augment_spec": TURNED}, {"augment": 2, "augment_spec": TURNED}],
)
def test_a_second_run_computes_nothing(photos, file, passed, options):
    run(photos, file, augment=2, augment_spec=TURNED)
    before = file.read_bytes()
    passed.clear()
    result = run(photos, file, **options)
    assert (result.computed, result.reused, result.variants, passed) == (0, 24, 2, [])
    assert file.read_bytes() == before


def test_what_is_asked_for_is_what_the_file_says(photos, file):
    run(photos, file, augment=2, augment_spec={"rotation": 30, "brightness": 0.2, "seed": 3})
    assert read_header(file).spec.augmentation == Augmentation.of(2, TURNED)
    assert read_header(file).variants == 2
    run(photos, file, augment_spec=TURNED)  # the text is the mapping


@pytest.mark.parametrize("nothing", ["", {}, "seed=1", {"rotation": 0}])
def test_a_spec_that_changes_nothing_is_refused(photos, file, nothing):
    with pytest.raises(ParameterError, match="changes nothing"):
        run(photos, file, augment=2, augment_spec=nothing)


def test_a_part_that_is_there_twice_is_refused():
    with pytest.raises(ParameterError, match="rotation twice"):
        Augmentation.of(1, "rotation=10,rotation=30")


def test_the_usual_variants_are_turned_zoomed_and_flipped(photos, file):
    run(photos, file, augment=1)
    usual = Augmentation(1, rotation=30.0, zoom=0.2, horizontal_flip=True)
    assert read_header(file).spec.augmentation == usual


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"augment": 1}, "not 1 variant "),
        ({"augment": 3}, "not 3 variants"),
        ({"augment": 0}, "not "),
        ({"augment_spec": "rotation=31"}, r"not 2 variants \(rotation=31\)"),
        ({"augment": 2, "augment_spec": TURNED.replace("seed=3", "seed=4")}, "not .*seed=4"),
    ],
)
def test_other_variants_are_refused_and_nothing_is_lost(photos, file, options, named):
    run(photos, file, augment=2, augment_spec=TURNED)
    before = file.read_bytes()
    with pytest.raises(SpecError, match=rf"2 variants \(.*\), {named}.*--augment.* -o") as caught:
        run(photos, file, **options)
    assert "seed=3" in str(caught.value)
    assert file.read_bytes() == before
    assert not list(file.parent.glob("*.partial"))


def test_a_spec_alone_is_told_by_its_own_option(photos, file):
    run(photos, file, augment=2)
    with pytest.raises(SpecError, match=r"leave out .*--augment-spec"):
        run(photos, file, augment_spec=TURNED)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment_spec": TURNED}, "--augment N"),
        ({"augment": 1001}, "0 to 1000"),
        ({"augment": -1}, "0 to 1000"),
        ({"augment": 2, "augment_spec": "turn=3"}, "there are: "),
        ({"augment": 2.0}, "whole number"),
    ],
)
def test_wrong_settings_are_one_error_and_make_no_file(photos, file, options, message):
    with pytest.raises(ParameterError, match=message):
        run(photos, file, **options)
    assert not file.exists()


def test_no_variants_asked_for_is_as_without(photos, file):
    assert run(photos, file, augment=0).variants == 0
    before = file.read_bytes()
    assert run(photos, file, augment=0).computed == 0
    assert file.read_bytes() == before


@pytest.mark.parametrize("added", [False, True])
def test_an_image_that_can_not_be_read_is_named_and_tried_again(photos, file, added):
    whole = (photos / "red" / "red03.png").read_bytes()
    (photos / "red" / "red03.png").write_bytes(whole[:80])
    if added:
        run(photos, file)
    result = run(photos, file, augment=2)
    assert [failure["id"] for failure in result.failed] == ["red/red03.png"]
    assert result.computed == 23
    assert rows_of(file).variants.shape == (23, 2, 3)
    (photos / "red" / "red03.png").write_bytes(whole)
    assert (run(photos, file).computed, rows_of(file).variants.shape) == (1, (24, 2, 3))
    run(photos, file.with_name("whole.h5"), augment=2)
    assert_same(rows_of(file), rows_of(file.with_name("whole.h5")))


def test_variants_that_were_begun_are_finished_by_a_plain_run(photos, file, monkeypatch):
    run(photos, file)
    before = file.read_bytes()

    class Breaking(PixelBackbone):
        left = 3

        def embed(self, images):
            if not self.left:
                raise StoreError("the power went")
            self.left -= 1
            return super().embed(images)

    with monkeypatch.context() as patch:
        patch.setattr("tlfeatures.features.extract.load_backbone", lambda s, n, **_: Breaking(n))
        with pytest.raises(StoreError, match="the power went"):
            run(photos, file, augment=2)
    assert file.read_bytes() == before
    result = run(photos, file)  # batches of two images with two variants each
    assert (result.computed, result.reused, result.variants) == (18, 6, 2)
    run(photos, file.with_name("whole.h5"), augment=2)
    assert_same(rows_of(file), rows_of(file.with_name("whole.h5")))
    assert not list(file.parent.glob("*.partial"))


# ---- files of version 1, and damaged ones


@pytest.fixture
def old(photos, file):
    """A file of version 1, and the images that it was made from."""
    shutil.copy(FIXTURE, file)
    for path in photos.glob("*/*"):
        if int(path.stem[-2:]) > 2:
            path.unlink()
    assert scan(photos).digests == read_header(file).digests
    return file


def test_a_file_of_version_1_has_nothing_to_do(photos, old, passed):
    before = old.read_bytes()
    assert read_header(old).variants == 0
    assert (extract(photos, old).computed, passed, old.read_bytes()) == (0, [], before)


def test_a_file_of_version_1_is_brought_up_to_date(photos, old, passed):
    before = rows_of(old, "grid4.flatten")
    write_image(photos / "red" / "zz.png", 1)
    result = extract(photos, old)
    assert (result.computed, result.reused, result.variants) == (1, 6, 0)
    np.testing.assert_array_equal(rows_of(old, "grid4.flatten").images[:6], before.images)
    passed.clear()
    result = extract(photos, old, augment=2, augment_spec=TURNED)
    assert (result.computed, result.variants) == (7, 2)
    after = rows_of(old, "grid4.flatten")
    np.testing.assert_array_equal(after.images[:6], before.images)
    assert after.variants.shape == (7, 2, 48)
    assert not passed_pixels(passed) & {image.tobytes() for image in pixels_of(photos).values()}
    with h5py.File(old) as opened:
        assert opened.attrs["format_version"] == 3


def with_places(photos, file):
    spec = replace(SPEC, augmentation=Augmentation(2))
    store.create(file, scan(photos), spec, {"grid8.avg": 3}, "float32")


def virtual(file, group, name):
    layout = h5py.VirtualLayout((24, 2, 3), np.float32)
    layout[:] = h5py.VirtualSource(str(file), "x", (24, 2, 3))
    group.create_virtual_dataset(name, layout)


DAMAGE = {
    "missing": lambda group, name, other: None,
    "fewer images": lambda group, name, other: group.create_dataset(name, (23, 2, 3), "f4"),
    "fewer variants": lambda group, name, other: group.create_dataset(name, (24, 1, 3), "f4"),
    "more variants": lambda group, name, other: group.create_dataset(name, (24, 3, 3), "f4"),
    "another width": lambda group, name, other: group.create_dataset(name, (24, 2, 4), "f4"),
    "a table": lambda group, name, other: group.create_dataset(name, (24, 6), "f4"),
    "a scalar": lambda group, name, other: group.create_dataset(name, (), "f4"),
    "half precision": lambda group, name, other: group.create_dataset(name, (24, 2, 3), "f2"),
    "double precision": lambda group, name, other: group.create_dataset(name, (24, 2, 3), "f8"),
    "whole numbers": lambda group, name, other: group.create_dataset(name, (24, 2, 3), "i4"),
    "text": lambda group, name, other: group.create_dataset(name, (24, 2, 3), h5py.string_dtype()),
    "a group": lambda group, name, other: group.create_group(name),
    "soft": lambda group, name, other: group.__setitem__(name, h5py.SoftLink("/digest")),
    "external": lambda group, name, other: group.__setitem__(
        name, h5py.ExternalLink(str(other), "x")
    ),
    "virtual": lambda group, name, other: virtual(other, group, name),
    "external storage": lambda group, name, other: group.create_dataset(
        name, (24, 2, 3), "f4", external=[(str(other), 0, 24 * 24)]
    ),
}


@pytest.fixture
def other(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as made:
        made["x"] = np.ones((24, 2, 3), np.float32)
    return tmp_path / "other.h5"


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_variants_are_refused(photos, file, other, kind):
    with_places(photos, file)
    with h5py.File(file, "r+") as opened:
        del opened["variants/grid8.avg"]
        DAMAGE[kind](opened["variants"], "grid8.avg", other)
    with pytest.raises(FormatError, match=r"photos\.h5.*variants/grid8\.avg"):
        read_header(file)
    with pytest.raises(FormatError, match=r"variants/grid8\.avg"):
        run(photos, file)


@pytest.mark.parametrize("kind", ["missing", "a table", "soft", "external"])
def test_a_damaged_group_of_variants_is_refused(photos, file, other, kind):
    with_places(photos, file)
    with h5py.File(file, "r+") as opened:
        del opened["variants"]
        DAMAGE[kind](opened, "variants", other)
    with pytest.raises(FormatError, match=r"photos\.h5"):
        read_header(file)


@pytest.mark.parametrize("variants", [1, 3, 0, "two", 2.5])
def test_a_spec_that_says_other_variants_than_there_are_is_refused(photos, file, variants):
    with_places(photos, file)
    with h5py.File(file, "r+") as opened:
        spec = json.loads(opened.attrs["spec"])
        spec["augmentation"]["variants"] = variants
        opened.attrs["spec"] = json.dumps(spec)
    with pytest.raises(FormatError, match=r"photos\.h5.*(variants|augmentation)"):
        read_header(file)


def test_variants_that_the_spec_knows_nothing_of_are_refused_or_left_alone(photos, file):
    run(photos, file)
    with h5py.File(file, "r+") as opened:
        opened.create_dataset("variants/grid8.avg", (24, 2, 3), "f4")
        opened["done"][3] = False
    try:
        result = run(photos, file)
    except FormatError:
        return
    assert (result.computed, len(rows_of(file).ids)) == (1, 24)


def test_nothing_is_written_through_a_link_out_of_the_file(photos, file, other):
    shutil.copy(photos / "red" / "red02.png", photos / "blue" / "copy.png")
    run(photos, file)
    with h5py.File(other, "r+") as made:
        del made["x"]
        made["x"] = np.arange(75, dtype=np.float32).reshape(25, 3)
    before = other.read_bytes()
    with h5py.File(file, "r+") as opened:
        opened["variants/grid8.avg"] = h5py.ExternalLink(str(other), "x")
        opened["done"][[b"copy" in id_ for id_ in opened["ids"][:]].index(True)] = False
    with contextlib.suppress(FormatError):
        run(photos, file)
    assert other.read_bytes() == before


# ---- the disk, and the command line


def test_the_file_has_room_for_all_variants_from_the_start(photos, file):
    manifest = scan(photos)
    spec = replace(SPEC, augmentation=Augmentation(50))
    store.create(file, manifest, spec, {"a.avg": 1000, "b.avg": 200}, "float16")
    size = 24 * 51 * 1200 * 2
    assert size < file.stat().st_size < 1.1 * size
    assert file.stat().st_blocks * 512 >= size
    assert not read_header(file).done.any()


def test_a_disk_without_room_for_the_variants_is_told_before_any_work(photos, file, monkeypatch):
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: Usage(10**9, 0, 200_000))
    store.create(file, scan(photos), SPEC, {"a.avg": 1000}, "float32")
    file.unlink()
    spec = replace(SPEC, augmentation=Augmentation(9))
    with pytest.raises(StoreError, match=r"about 1\.0 MB, 0\.2 MB are free"):
        store.create(file, scan(photos), spec, {"a.avg": 1000}, "float32")
    assert not file.exists()


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_line_says_how_many_variants_and_info_how(photos, file):
    command = ["extract", photos, "-o", file, "--backbone", "pixels", "--size", 16]
    made = invoke(*command, "--augment", 2, "--augment-spec", TURNED, "--json")
    assert (made.exit_code, json.loads(made.stdout)["variants"]) == (0, 2)
    assert "2 variants of each image" in invoke(*command).stdout
    assert json.loads(invoke(*command, "--json").stdout)["variants"] == 2
    augmentation = asdict(Augmentation.of(2, TURNED))
    assert describe(file)["spec"]["augmentation"] == augmentation
    assert json.loads(invoke("info", file, "--json").stdout)["spec"]["augmentation"] == augmentation
    shown = invoke("info", file).stdout
    assert "augmentation" in shown
    assert all(part in shown for part in ("rotation", "30", "brightness", "0.2", "seed"))


def test_without_variants_the_command_line_says_none(photos, file):
    command = ["extract", photos, "-o", file, "--backbone", "pixels", "--size", 16]
    assert json.loads(invoke(*command, "--json").stdout)["variants"] == 0
    assert "variants of each image" not in invoke(*command).stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--augment-spec", TURNED], "--augment N"),
        (["--augment", "2", "--augment-spec", "turn=3"], "there are: "),
        (["--augment", "2", "--augment-spec", "rotation=200"], "0 to 180"),
        (["--augment", "2000"], "0 to 1000"),
        (["--augment", "-1"], "--augment"),
        (["--augment", "two"], "--augment"),
    ],
)
def test_the_command_line_refuses_in_one_line(photos, file, options, message):
    result = invoke("extract", photos, "-o", file, "--backbone", "pixels", *options)
    assert result.exit_code == 2
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.output
    assert not file.exists()


# ---- a layer that names its pooling


def test_a_layer_that_names_its_pooling_is_pooled_in_no_other_way(photos, file):
    command = ["extract", photos, "-o", file, "--backbone", "pixels", "--size", 16, "--json"]
    layers = ["--layer", "grid8.flatten", "--layer", "grid4", "--pool", "avg"]
    made = json.loads(invoke(*command, *layers).stdout)
    assert made["embeddings"] == {"grid8.flatten": 192, "grid4.avg": 3}
    assert json.loads(invoke(*command, *layers).stdout)["computed"] == 0


@pytest.mark.parametrize(
    ("layers", "pools", "expected"),
    [
        (["grid8.flatten", "grid8.max"], [], {"grid8.flatten", "grid8.max"}),
        (["grid8.flatten"], ["max"], {"grid8.flatten"}),
        (["grid8.flatten", "grid8"], ["flatten"], {"grid8.flatten"}),
        (["mean.none", "grid4"], [], {"mean.none", "grid4.avg"}),
        ("grid4.max", [], {"grid4.max"}),
    ],
)
def test_pooling_by_layer(photos, file, layers, pools, expected):
    assert set(run(photos, file, layers=layers, pools=pools).embeddings) == expected


def test_a_layer_that_names_its_pooling_is_added_alone(photos, file):
    run(photos, file, layers=["grid8.flatten", "grid4.max"])
    added = run(photos, file, layers=["grid4.avg"]).embeddings
    assert set(added) == {"grid8.flatten", "grid4.max", "grid4.avg"}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("grid8.flat", "no pooling 'flat'; there are: flatten"),
        ("grid8.none", "pool it by avg or max"),
        ("grid8.avg.max", "no pooling 'avg.max'"),
        ("grid9.avg", "no layer of pixels 'grid9'; there are: grid"),
        (".avg", "no layer of pixels ''"),
    ],
)
def test_a_wrong_pooling_of_a_layer_names_the_right_ones(photos, file, layer, message):
    with pytest.raises(ParameterError, match=message):
        run(photos, file, layers=[layer])
    assert not file.exists()


def test_layers_with_and_without_their_own_pooling_are_made_once(photos, file):
    asked = {"layers": ["grid4", "grid8", "grid8.flatten"]}
    made = run(photos, file, **asked)
    assert set(made.embeddings) == {"grid4.avg", "grid8.avg", "grid8.flatten"}
    again = run(photos, file, **asked)
    assert (again.computed, again.embeddings) == (0, made.embeddings)


def test_a_new_layer_is_pooled_as_all_layers_of_the_file_are():
    names = ["a.avg", "b.avg", "b.flatten", "fc.none"]
    assert _layers_and_pools(names) == (["a", "b", "fc"], ["avg"])
    assert _layers_and_pools(["a.avg", "b.max"]) == (["a", "b"], [])
    assert _layers_and_pools([]) == ([], [])
