"""Everything that embeds goes through one loop: it halves what does not fit, and reads ahead."""

import threading

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.fakes import (
    Double,
    Recording,
    SmallMemory,
    assert_same,
    record_batches,
    rows_of,
    use_backbone,
    write_image,
)
from tlfeatures import Extractor, Model, extract, fit, verify
from tlfeatures.cli import main
from tlfeatures.errors import EngineError
from tlfeatures.features.backbones.pixels import PixelBackbone
from tlfeatures.features.file.writer import Writer

OPTIONS = {"backbone": "pixels", "size": 16}
FULL = RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")


@pytest.fixture
def folder(tmp_path):
    """32 images in two classes; one file of each class is none."""
    for number in range(32):
        write_image(tmp_path / "photos" / "ab"[number // 16] / f"{number:02d}.png", number)
    for name in "ab":
        (tmp_path / "photos" / name / "05broken.png").write_bytes(b"no image")
    return tmp_path / "photos"


@pytest.fixture
def small_memory(monkeypatch):
    """Let no more than 3 images fit; gives the sizes of the batches that were tried."""
    sizes = []

    class Remembering(SmallMemory):
        def embed(self, images):
            sizes.append(len(images))
            return super().embed(images)

    def use():
        use_backbone(monkeypatch, lambda names: Remembering(PixelBackbone(names), 3, FULL))
        return sizes

    return use


def assert_halved(sizes, caplog):
    assert max(sizes) > 3  # the first batch did not fit
    first_fitting = next(place for place, size in enumerate(sizes) if size <= 3)
    assert max(sizes[first_fitting:]) <= 3  # the smaller size stays
    assert "no memory for larger batches: going on with 2 images" in caplog.text


def test_extract_halves_a_batch_that_does_not_fit(folder, tmp_path, small_memory, caplog):
    extract(folder, tmp_path / "whole.h5", **OPTIONS)
    sizes = small_memory()
    extract(folder, tmp_path / "x.h5", **OPTIONS)
    assert sizes[:5] == [32, 16, 8, 4, 2]
    assert_halved(sizes, caplog)
    assert_same(tmp_path / "x.h5", rows_of(tmp_path / "whole.h5"))


def test_verify_halves_a_batch_that_does_not_fit(folder, tmp_path, small_memory, caplog):
    extract(folder, tmp_path / "x.h5", augment=1, **OPTIONS)
    sizes = small_memory()
    result = verify(tmp_path / "x.h5", folder, sample=32)
    assert (result.sampled, result.smallest_cosine) == (32, 1.0)
    assert_halved(sizes, caplog)


def test_predict_and_evaluate_halve_a_batch_that_does_not_fit(
    folder, tmp_path, small_memory, caplog
):
    extract(folder, tmp_path / "x.h5", **OPTIONS)
    fit(tmp_path / "x.h5", ["centroid"], model=tmp_path / "x.model", cv=2)
    model, new = Model.load(tmp_path / "x.model"), tmp_path / "new"
    for number in range(20):
        write_image(new / "ab"[number % 2] / f"{number}.png", 100 + number)
    whole = [prediction.probabilities for prediction in model.predict(new)]
    sizes = small_memory()
    halved = [prediction.probabilities for prediction in model.predict(new)]
    assert_halved(sizes, caplog)
    assert halved == whole
    sizes.clear()
    caplog.clear()
    assert model.evaluate(new).tested == 20
    assert_halved(sizes, caplog)


def test_the_transformer_halves_a_batch_that_does_not_fit(folder, small_memory, caplog):
    paths = sorted(path for path in folder.glob("*/*.png") if "broken" not in path.name)
    extractor = Extractor("pixels", size=16)
    whole = extractor.transform(paths)
    sizes = small_memory()
    np.testing.assert_array_equal(extractor.transform(paths), whole)
    assert_halved(sizes, caplog)


def test_one_image_that_does_not_fit_is_an_error_that_says_what_to_do(
    folder, tmp_path, monkeypatch
):
    full = RuntimeError("cpu_memory.cpp:257: Failed to allocate 655360000 bytes of memory")
    use_backbone(monkeypatch, lambda names: SmallMemory(PixelBackbone(names), 0, full))
    with pytest.raises(EngineError, match="one image of 16 x 16: give a smaller --size"):
        extract(folder, tmp_path / "x.h5", **OPTIONS)


def test_a_batch_is_halved_also_if_a_shorter_message_hides_the_reason(
    folder, tmp_path, monkeypatch, caplog
):
    sizes = []

    class Shortening(SmallMemory):
        def embed(self, images):
            sizes.append(len(images))
            try:
                return super().embed(images)
            except RuntimeError as error:
                raise EngineError("the engine failed") from error

    use_backbone(monkeypatch, lambda names: Shortening(PixelBackbone(names), 3, FULL))
    assert extract(folder, tmp_path / "x.h5", **OPTIONS).computed == 32
    assert_halved(sizes, caplog)


def test_an_error_that_is_not_about_memory_is_not_tried_again(folder, tmp_path, monkeypatch):
    calls = []

    class Broken(Recording):
        def embed(self, images):
            super().embed(images)
            raise RuntimeError("another error")

    use_backbone(monkeypatch, lambda names: Broken(PixelBackbone(names), calls))
    with pytest.raises(RuntimeError, match="another error"):
        extract(folder, tmp_path / "x.h5", **OPTIONS)
    assert len(calls) == 1


def test_who_stops_in_the_middle_leaves_no_decoding_thread(folder, tmp_path):
    extract(folder, tmp_path / "x.h5", **OPTIONS)
    fit(tmp_path / "x.h5", ["centroid"], model=tmp_path / "x.model", cv=2)
    model = Model.load(tmp_path / "x.model")
    before = threading.active_count()
    predictions = model.iter_predict(folder, batch_size=1)
    next(predictions)
    predictions.close()
    assert threading.active_count() == before


def test_rows_in_the_middle_are_computed_again_where_they_stood(folder, tmp_path, monkeypatch):
    """The last bits of some backbones depend on the position in a batch."""
    batches = record_batches(monkeypatch, one_shape=True)
    options = OPTIONS | {"batch_size": 4}
    extract(folder, tmp_path / "x.h5", **options)
    whole, rows = list(batches), [1, 7, 10, 14]
    batches.clear()
    with Writer(tmp_path / "x.h5") as writer:
        writer.unmark(rows)
    assert extract(folder, tmp_path / "x.h5", **options).computed == 4
    for row, batch in zip(rows, batches, strict=True):
        np.testing.assert_array_equal(batch[row % 4], whole[row // 4][row % 4])


@pytest.mark.parametrize("option", ["layer", "sizes", "prunes"])
def test_an_unknown_option_is_reported_in_the_name_of_extract(folder, tmp_path, option):
    with pytest.raises(TypeError, match=rf"extract\(\) got an unexpected .*{option}"):
        extract(folder, tmp_path / "x.h5", **{option: 1})


def test_layers_and_poolings_are_given_alike_everywhere(folder, tmp_path):
    """`layers`, `pools` in Python; `--layer`, `--pool`, both repeatable, on the command line."""
    arguments = ["extract", folder, "-o", tmp_path / "x.h5", "--backbone", "pixels", "--size", 16]
    arguments += ["--layer", "grid4", "--layer", "grid8", "--pool", "avg", "--pool", "flatten"]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 3, result.output  # two files are no images
    given = {"layers": ["grid4", "grid8"], "pools": ["avg", "flatten"]}
    widths = extract(folder, tmp_path / "y.h5", **OPTIONS, **given).embeddings
    assert widths == {
        "grid4.avg": 3, "grid4.flatten": 48, "grid8.avg": 3, "grid8.flatten": 192
    }  # fmt: skip
    assert_same(tmp_path / "x.h5", rows_of(tmp_path / "y.h5"))
    paths = sorted(path for path in folder.glob("*/*.png") if "broken" not in path.name)
    extractor = Extractor("pixels", size=16, **given)
    assert extractor.transform(paths).shape == (32, sum(widths.values()))
    assert len(extractor.get_feature_names_out()) == sum(widths.values())


def test_values_that_are_no_numbers_are_one_line_and_no_rows(monkeypatch, tmp_path):
    class Dark(Double):
        def embed(self, images):
            rows = super().embed(images)
            dark = images.mean(axis=(1, 2, 3)) < 64
            return {name: np.where(dark[:, None], np.nan, row) for name, row in rows.items()}

    for number, grey in enumerate((0, 100, 200)):
        Image.new("RGB", (20, 20), (grey,) * 3).save(tmp_path / f"{number}.png")
    use_backbone(monkeypatch, lambda names: Dark(PixelBackbone(names)))
    with pytest.raises(EngineError, match=r"NaN or infinity\) for 1 of \d+ images"):
        Extractor(**OPTIONS).fit_transform(sorted(map(str, tmp_path.glob("*.png"))))
