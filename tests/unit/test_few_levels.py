"""Images of which hardly anything reaches the backbone are named in one warning."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.fakes import write_image
from tests.unit.deep_files import png_of_16_bits, tiff, tiff_of, tiff_of_12_bits
from tlfeatures import Extractor, Model, extract, fit, verify
from tlfeatures.cli import main
from tlfeatures.errors import ParameterError, SpecError
from tlfeatures.features.file.reader import open_embeddings, read_header
from tlfeatures.features.images.decoding import decode_content
from tlfeatures.features.images.few_levels import FewLevels, check_grey_levels, warn_of_few_levels
from tlfeatures.features.images.reading import open_content

SIDE = 32
SETTINGS = {"backbone": "pixels", "size": SIDE, "layers": ["grid8.flatten"]}
RANDOM = np.random.default_rng(0)
DARK_PLANES = np.full((SIDE, SIDE, 3), 4000, np.uint16)
WHITE_CMYK = np.full((SIDE, SIDE, 4), 4000, np.uint16)
WARNING = "nearly black or one colour"


def stripes(number: int, low: int, high: int) -> np.ndarray:
    """Noise on stripes, from `low` to `high`."""
    rows = np.sin(np.arange(SIDE) / (1 + number % 7)) * 0.4 + 0.4
    noise = np.random.default_rng(number).random((SIDE, SIDE)) * 0.2
    return (low + (rows[:, None] + noise) * (high - low)).astype(np.uint16)


@pytest.fixture
def cells(tmp_path):
    """Two classes of a 12-bit camera's images, in 16 bits."""
    for label, offset in (("a", 0), ("b", 3)):
        (tmp_path / "cells" / label).mkdir(parents=True)
        for number in range(8):
            values = stripes(offset + 10 * number, 0, 4095)
            (tmp_path / "cells" / label / f"{number}.tif").write_bytes(tiff(values))
    return tmp_path / "cells"


def warnings(caplog) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]


# ---- what counts


def test_17_levels_are_enough():
    for count in (1, 2, 15, 16, 17, 255):
        values = np.resize(np.arange(count), (20, 20)).astype(np.uint8)
        found = check_grey_levels(values[..., None].repeat(3, axis=2), None)
        assert found == (None if count > 16 else FewLevels(count - 1, None))


def test_every_pixel_counts():
    values = np.zeros((100, 100, 3), np.uint8)
    values[51, 1:18, 1] = np.arange(17)
    assert check_grey_levels(values, None) is None
    values[51, 17, 1] = 0
    assert check_grey_levels(values, None) == FewLevels(15, None)


def test_the_channel_with_the_most_levels_counts():
    values = np.zeros((20, 20, 3), np.uint8)
    assert check_grey_levels(values, None) == FewLevels(0, None)
    values[..., 0] = 255  # plain red has one shade a channel
    assert check_grey_levels(values, None) == FewLevels(0, None)
    values[..., 2] = np.arange(20)
    assert check_grey_levels(values, None) is None


@pytest.mark.parametrize("side", [28, 64, 300])
@pytest.mark.parametrize("size", [32, 96, 224])
def test_digits_drawings_and_scans_are_no_such_images_once_they_are_resized(side, size, tmp_path):
    y, x = np.mgrid[:side, :side]
    disc = ((x - side / 2) ** 2 + (y - side / 3) ** 2 < (side / 4) ** 2).astype(np.uint8)
    digit = np.minimum(16, disc * (x % 5 + 9) + (x > y) * 3) * 255 // 16
    for name, image in {
        "digit": Image.fromarray(digit.astype(np.uint8)),
        "scan": Image.fromarray(disc * 255).convert("1"),
        "drawing": Image.fromarray(np.stack([disc * 200, 255 - disc * 55, disc * 30], axis=2)),
    }.items():
        image.save(tmp_path / f"{name}.png")
        with open_content(tmp_path / f"{name}.png") as content:
            assert decode_content(content, (size, size)).few_levels is None, name


# ---- what is said


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([FewLevels(0, None)], "1 image is nearly black or one colour: 0.tif"),
        ([FewLevels(9, None)] * 3, "3 images are nearly black or one colour: 0.tif, 1.tif, 2.tif"),
        (
            [FewLevels(9, 4000)] * 37,
            "37 images are nearly black or one colour: 0.tif, 1.tif, 2.tif and 34 more; "
            "12-bit data? `--value-range 0,4095 -o NEW.h5`",
        ),
        (
            [FewLevels(0, 255), FewLevels(0, None)],
            "2 images are nearly black or one colour: 0.tif, 1.tif; 8-bit data? "
            "`--value-range 0,255 -o NEW.h5`",
        ),
        ([FewLevels(0, 40000)], "1 image is nearly black or one colour: 0.tif"),
        ([FewLevels(255, None)], "1 image has 16 grey levels or fewer: 0.tif"),
        ([FewLevels(0, None), FewLevels(255, None)], "2 images have 16 grey levels or fewer: 0"),
    ],
)
def test_the_warning_names_them_and_what_may_help(found, said, caplog):
    warn_of_few_levels([(f"{number}.tif", each) for number, each in enumerate(found)])
    (line,) = warnings(caplog)
    assert line.startswith(said)
    assert len(line) < len(said) + 20


def test_nothing_is_said_of_nothing(caplog):
    warn_of_few_levels([])
    assert not warnings(caplog)


# ---- the commands


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_extract_names_them_once_and_lists_them(cells, tmp_path, caplog):
    write_image(cells / "a" / "fine.png", 0, SIDE)
    Image.new("RGB", (SIDE, SIDE), "white").save(cells / "b" / "white.jpg")
    arguments = ["extract", cells, "-o", tmp_path / "x.h5", "--json", "--backbone", "pixels"]
    result = run(*arguments, "--size", SIDE)
    assert result.exit_code == 0
    named = json.loads(result.stdout)["few_levels"]
    assert named == [f"{c}/{n}.tif" for c in "ab" for n in range(8)] + ["b/white.jpg"]
    assert warnings(caplog) == [
        "17 images are nearly black or one colour: a/0.tif, a/1.tif, a/2.tif and 14 more; "
        "12-bit data? `--value-range 0,4095 -o NEW.h5`"
    ]


def test_with_the_range_they_are_images_like_any_others(cells, tmp_path, caplog):
    for name, options in (("dark", {}), ("ranged", {"value_range": "0,4095"})):
        result = extract(cells, tmp_path / f"{name}.h5", **SETTINGS, **options)
        assert len(result.few_levels) == (0 if options else 16)
        with open_embeddings(tmp_path / f"{name}.h5") as reader:
            assert (reader.read("grid8.flatten").max() > 0.5) == bool(options)
    assert len(warnings(caplog)) == 1
    assert read_header(tmp_path / "ranged.h5").spec.value_range == (0, 4095)


def test_a_file_keeps_its_range(cells, tmp_path):
    file = tmp_path / "x.h5"
    extract(cells, file, **SETTINGS, value_range=(0, 4095))
    (cells / "a" / "more.tif").write_bytes(tiff(stripes(1, 0, 4095)))
    result = extract(cells, file)
    assert (result.computed, result.few_levels) == (1, [])
    with pytest.raises(
        SpecError, match=r"value_range 0,4095, not 0,1023: to update it, leave out --value-range"
    ):
        extract(cells, file, value_range="0,1023")
    extract(cells, tmp_path / "y.h5", **SETTINGS)
    with pytest.raises(SpecError, match=r"value_range None, not 0,4095"):
        extract(cells, tmp_path / "y.h5", value_range="0,4095")
    assert "value_range: 0.0, 4095.0" in run("info", file).stdout


def test_no_range_is_wrong_usage(cells, tmp_path):
    result = run("extract", cells, "-o", tmp_path / "x.h5", "--value-range", "4095,0")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "LO,HI" in result.stderr
    with pytest.raises(ParameterError, match="value_range"):
        Extractor(backbone="pixels", value_range="x").fit()


def test_negative_values_can_be_black(tmp_path):
    (tmp_path / "ct" / "a").mkdir(parents=True)
    values = np.linspace(-1000, 2000, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.int16)
    (tmp_path / "ct" / "a" / "1.tif").write_bytes(tiff(values))
    settings = ["--backbone", "pixels", "--size", SIDE]
    result = run("extract", tmp_path / "ct", "-o", tmp_path / "x.h5", *settings)
    assert result.exit_code == 1
    option = result.stderr.split("for example ")[1].split(")")[0].split()
    assert option == ["--value-range", "-1000,2000"]
    result = run("extract", tmp_path / "ct", "-o", tmp_path / "x.h5", *settings, *option)
    assert result.exit_code == 0, result.stderr


@pytest.fixture
def model(cells, tmp_path):
    extract(cells, tmp_path / "cells.h5", **SETTINGS, value_range=(0, 4095))
    fit(tmp_path / "cells.h5", "logreg", model=tmp_path / "m.model", near_duplicates=None)
    return tmp_path / "m.model"


def test_a_model_predicts_and_is_tested_with_the_range_of_its_images(model, cells, caplog):
    loaded = Model.load(model)
    assert loaded.spec.value_range == (0, 4095)
    with open_embeddings(model.with_name("cells.h5")) as reader:
        expected = loaded.predict_proba(reader.read("grid8.flatten"))
    found = [list(each.probabilities.values()) for each in loaded.predict([cells])]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    for label, offset in (("a", 0), ("b", 3)):
        (cells.parent / "new" / label).mkdir(parents=True)
        values = stripes(offset + 1000, 0, 4095)
        (cells.parent / "new" / label / "1.tif").write_bytes(tiff(values))
    evaluation = loaded.evaluate(cells.parent / "new", near_duplicates=None)
    assert evaluation.scores["accuracy"]["score"] == 1
    assert not warnings(caplog)
    assert "0 is black and 4095 white" in model.with_name("m.model.md").read_text("utf-8")


def test_predict_names_images_without_levels_once(model, cells, tmp_path, caplog):
    Image.new("L", (SIDE, SIDE)).save(tmp_path / "black.png")
    Image.new("L", (SIDE, SIDE), 9).save(tmp_path / "grey.png")
    black, fine = tmp_path / "black.png", cells / "a" / "1.tif"
    expected = f"1 image is nearly black or one colour: {black}"
    assert run("predict", model, fine, black).exit_code == 0
    assert warnings(caplog) == [expected]
    caplog.clear()
    paths = [str(black), str(fine), str(tmp_path / "grey.png")]
    made = list(Model.load(model).predict_stream(paths, batch_size=1))
    assert len(made) == 3
    assert warnings(caplog) == [  # a stream may go on for days: each batch has its warning
        expected,
        f"1 image is nearly black or one colour: {tmp_path / 'grey.png'}",
    ]


def test_predict_says_where_a_range_is_given(cells, tmp_path, caplog):
    extract(cells, tmp_path / "dark.h5", **SETTINGS)
    fit(tmp_path / "dark.h5", "logreg", model=tmp_path / "m.model", near_duplicates=None)
    caplog.clear()
    assert run("predict", tmp_path / "m.model", cells).exit_code == 0
    assert warnings(caplog)[0].endswith("12-bit data? `tlfeatures extract --value-range 0,4095`")


def test_verify_embeds_again_with_the_same_range(model, cells):
    found = verify(model.with_name("cells.h5"), cells)
    assert found.ok
    assert found.sampled == 16


def test_the_check_of_an_export_decodes_with_the_same_range(model, cells, tmp_path):
    export = pytest.importorskip("tlfeatures.models.export.export").export
    made = export(model, tmp_path / "m.onnx", check=[cells])
    assert made.check.passed
    onnx = pytest.importorskip("onnx").load(tmp_path / "m.onnx")
    assert "with more than 8 bits a channel 0 is black and 4095 is white" in onnx.doc_string


def test_an_extractor_has_a_range(cells, tmp_path, caplog):
    paths = sorted(cells.glob("*/*.tif"))
    settings = {"backbone": "pixels", "size": SIDE, "layers": "grid8", "pools": "flatten"}
    extract(cells, tmp_path / "x.h5", **SETTINGS, value_range=(0, 4095))
    with open_embeddings(tmp_path / "x.h5") as reader:
        expected = reader.read("grid8.flatten")
    found = Extractor(value_range=(0, 4095), **settings).transform(paths)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    caplog.clear()
    assert Extractor(**settings).transform(paths).max() < 0.1
    (warning,) = warnings(caplog)
    assert warning.startswith("16 images are nearly black or one colour: ")
    assert warning.endswith("; 12-bit data? `value_range=(0,4095)`")


def test_copies_are_named_each(cells, tmp_path):
    shutil.copy(cells / "a" / "1.tif", cells / "b" / "copy.tif")
    named = extract(cells, tmp_path / "x.h5", **SETTINGS).few_levels
    assert {"a/1.tif", "b/copy.tif"} <= set(named)


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"P5 32 32 65535 " + stripes(0, 0, 4095).astype(">u2").tobytes(), "; 12-bit data? "),
        (b"P5 32 32 65535 " + stripes(0, 0, 255).astype(">u2").tobytes(), "; 8-bit data? "),
        (b"P5 32 32 32767 " + stripes(0, 0, 900).astype(">u2").tobytes(), None),
        (tiff_of_12_bits(7, SIDE), None),
        (tiff(np.full((SIDE, SIDE), 40000, np.uint16)), None),
        (tiff(np.full((SIDE, SIDE), 10000, np.uint16)), "; 14-bit data? "),
        # Files to which no range can be applied.
        (tiff_of(WHITE_CMYK, photometric="separated"), None),
        (tiff_of(DARK_PLANES, "<", "zlib", planes=True, photometric="rgb"), None),
        (tiff_of(DARK_PLANES, photometric="rgb"), "; 12-bit data? "),
        (b"P6 32 32 65535 " + DARK_PLANES.astype(">u2").tobytes(), None),
    ],
)
def test_a_hint_is_given_where_a_range_helps(data, hint, tmp_path, caplog):
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "a" / "1.tif").write_bytes(data)
    extract(tmp_path / "photos", tmp_path / "x.h5", **SETTINGS)
    (warning,) = warnings(caplog)
    named = "1 image is nearly black or one colour: a/1.tif"
    assert warning == named if hint is None else warning.startswith(named + hint)


def test_colours_that_pillow_cuts_are_named(tmp_path, caplog):
    (tmp_path / "photos" / "a").mkdir(parents=True)
    values = np.stack([stripes(number, 0, 4095) for number in range(3)], axis=2)
    (tmp_path / "photos" / "a" / "1.png").write_bytes(png_of_16_bits(values))
    (tmp_path / "photos" / "a" / "2.tif").write_bytes(tiff(values, photometric="rgb"))
    extract(tmp_path / "photos", tmp_path / "x.h5", **SETTINGS)
    assert warnings(caplog) == [
        "2 images are nearly black or one colour: a/1.png, a/2.tif; 12-bit data? "
        "`--value-range 0,4095 -o NEW.h5`"
    ]
    ranged = extract(tmp_path / "photos", tmp_path / "y.h5", **SETTINGS, value_range=(0, 4095))
    assert ranged.few_levels == []
