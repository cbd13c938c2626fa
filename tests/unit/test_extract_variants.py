"""Variants of images in the embeddings file: their rows, and the batches that give them."""

import json
import shutil
from collections import namedtuple
from dataclasses import asdict, replace

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from tests.fakes import assert_same, decode, record_batches, rows_of
from tests.unit.data import SPEC, TURNED, extract_pixels, rows_by_id
from tlfeatures import describe
from tlfeatures.cli import main
from tlfeatures.errors import StoreError
from tlfeatures.features.backbones.pixels import PixelBackbone
from tlfeatures.features.file.create import Contents, create
from tlfeatures.features.file.reader import open_embeddings, read_header
from tlfeatures.features.images.augment import Augmentation
from tlfeatures.features.images.identify import scan
from tlfeatures.features.images.reading import digest
from tlfeatures.features.sources.open_source import open_source

VARIANTS = "variants of grid8.avg"  # as `rows_of` names them


@pytest.fixture
def passed(monkeypatch):
    """All batches that pass from here on; of one shape, as Keras's are."""
    return record_batches(monkeypatch, one_shape=True)


def test_rows_of_variants_are_those_of_each_variant_by_hand(photos, file):
    result = extract_pixels(
        photos, file, layers=["grid8", "grid4.flatten"], augment=3, augment_spec=TURNED
    )
    assert (result.images, result.computed, result.variants) == (24, 24, 3)
    names = ["grid8.avg", "grid4.flatten"]
    backbone, how = PixelBackbone(names), Augmentation.parse(3, TURNED)
    ids, rows = rows_of(file)
    for name in names:
        images, variants_of_images = rows[name], rows[f"variants of {name}"]
        assert variants_of_images.shape == (24, 3, images.shape[1])
        for id_, image, variants in zip(ids, images, variants_of_images, strict=True):
            data = (photos / id_).read_bytes()
            expected = backbone.embed(how.stack(digest(data), decode(data, (16, 16))))[name]
            np.testing.assert_array_equal(np.stack([image, *variants]), expected)


def test_the_first_variants_of_every_finished_row_are_read(photos, file):
    extract_pixels(photos, file, augment=3, dtype="float16")
    whole = rows_of(file)[1][VARIANTS]
    with open_embeddings(file) as reader:
        for count in range(4):
            few = reader.read_variants("grid8.avg", count)
            assert (few.shape, few.dtype) == ((24, count, 3), np.float32)
            np.testing.assert_array_equal(few, whole[:, :count])
    with h5py.File(file, "r+") as opened:
        opened["done"][3] = False
    with open_embeddings(file) as reader:
        expected = np.delete(whole, 3, axis=0)[:, :2]
        np.testing.assert_array_equal(reader.read_variants("grid8.avg", 2), expected)


def test_images_themselves_are_as_without_variants(photos, file, tmp_path):
    extract_pixels(photos, file, augment=2)
    extract_pixels(photos, tmp_path / "plain.h5")
    plain = rows_of(tmp_path / "plain.h5")[1]
    assert set(plain) == {"grid8.avg", "properties"}
    for name, rows in plain.items():
        np.testing.assert_array_equal(rows_of(file)[1][name], rows)
    with h5py.File(tmp_path / "plain.h5") as opened:
        assert "variants" not in opened


@pytest.mark.parametrize(
    ("batch_size", "added"),
    [
        *((1, False), (2, True), (3, False), (7, True), (32, False), (500, True)),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in ((1, True), (2, False), (3, True), (7, False), (32, True), (500, False))
        ),
    ],
)
def test_every_batch_size_gives_the_same_rows(photos, file, tmp_path, passed, batch_size, added):
    shutil.rmtree(photos / "blue")
    (photos / "red" / "red11.png").unlink()
    extract_pixels(photos, tmp_path / "other.h5", augment=4, layers="grid4", pools="flatten")
    options = {"batch_size": batch_size, "layers": "grid4", "pools": "flatten"}
    if added:
        extract_pixels(photos, file, **options)
    passed.clear()
    assert extract_pixels(photos, file, augment=4, **options).computed == 11
    assert_same(file, rows_of(tmp_path / "other.h5"))
    assert len({batch.shape for batch in passed}) == 1  # another would be compiled anew
    assert len(passed[0]) <= batch_size
    needed = 11 * (4 if added else 5)
    assert needed <= sum(map(len, passed)) < 2 * needed


def test_variants_do_not_depend_on_folder_order_or_company(photos, file, tmp_path):
    extract_pixels(photos, file, augment=3, augment_spec=TURNED)
    other = tmp_path / "elsewhere" / "z"
    other.mkdir(parents=True)
    for number, path in enumerate(sorted(photos.glob("red/*"), reverse=True)[:7]):
        shutil.copy(path, other / f"{number}.png")
    extract_pixels(other.parent, tmp_path / "z.h5", augment=2, augment_spec=TURNED, batch_size=2)
    (ids, here), (_, there) = rows_of(file), rows_of(tmp_path / "z.h5")
    last = [ids.index(f"red/red{number:02d}.png") for number in range(11, 4, -1)]
    np.testing.assert_array_equal(here[VARIANTS][last, :2], there[VARIANTS])
    extract_pixels(photos, tmp_path / "seed.h5", augment=3, augment_spec=TURNED.replace("3", "4"))
    seeded = rows_of(tmp_path / "seed.h5")[1]
    assert (seeded[VARIANTS] != here[VARIANTS]).any(axis=2).all()


def test_identical_files_have_the_same_variants_and_are_computed_once(photos, file):
    shutil.copy(photos / "red" / "red02.png", photos / "blue" / "copy.png")
    result = extract_pixels(photos, file, augment=2)
    assert (result.computed, result.reused) == (24, 1)
    rows = rows_by_id(file, VARIANTS)
    np.testing.assert_array_equal(rows["red/red02.png"], rows["blue/copy.png"])
    shutil.copy(photos / "red" / "red02.png", photos / "blue" / "again.png")
    assert extract_pixels(photos, file).computed == 0
    rows = rows_by_id(file, VARIANTS)
    assert len(rows) == 26
    np.testing.assert_array_equal(rows["red/red02.png"], rows["blue/again.png"])


@pytest.mark.parametrize("added", [False, True])
def test_an_image_that_can_not_be_read_is_named_and_tried_again(photos, file, added):
    whole = (photos / "red" / "red03.png").read_bytes()
    (photos / "red" / "red03.png").write_bytes(whole[:80])
    if added:
        extract_pixels(photos, file)
    result = extract_pixels(photos, file, augment=2)
    assert [failure["id"] for failure in result.failed] == ["red/red03.png"]
    assert result.computed == 23
    assert rows_of(file)[1][VARIANTS].shape == (23, 2, 3)
    (photos / "red" / "red03.png").write_bytes(whole)
    assert extract_pixels(photos, file).computed == 1
    assert rows_of(file)[1][VARIANTS].shape == (24, 2, 3)
    extract_pixels(photos, file.with_name("whole.h5"), augment=2)
    assert_same(file, rows_of(file.with_name("whole.h5")))


def test_what_is_asked_for_is_what_the_file_says(photos, file):
    extract_pixels(
        photos, file, augment=2, augment_spec={"rotation": 30, "brightness": 0.2, "seed": 3}
    )
    assert read_header(file).spec.augmentation == Augmentation.parse(2, TURNED)
    assert read_header(file).spec.variants == 2
    extract_pixels(photos, file, augment_spec=TURNED)  # the text is the mapping


def test_the_usual_variants_are_turned_zoomed_and_flipped(photos, file):
    extract_pixels(photos, file, augment=1)
    usual = Augmentation(1, rotation=30.0, zoom=0.2, horizontal_flip=True)
    assert read_header(file).spec.augmentation == usual


def test_no_variants_asked_for_is_as_without(photos, file):
    assert extract_pixels(photos, file, augment=0).variants == 0
    before = file.read_bytes()
    assert extract_pixels(photos, file, augment=0).computed == 0
    assert file.read_bytes() == before


# ---- room on the disk


def test_the_file_has_room_for_all_variants_from_the_start(photos, file):
    manifest = scan(open_source(photos))
    spec = replace(SPEC, augmentation=Augmentation(50))
    create(file, Contents(manifest, spec, {"a.avg": 1000, "b.avg": 200}, "float16"))
    size = 24 * 51 * 1200 * 2
    assert size < file.stat().st_size < 1.1 * size
    assert file.stat().st_blocks * 512 >= size
    assert not read_header(file).done.any()


def test_a_disk_without_room_for_the_variants_is_told_before_any_work(photos, file, monkeypatch):
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, 200_000))
    create(file, Contents(scan(open_source(photos)), SPEC, {"a.avg": 1000}, "float32"))
    file.unlink()
    spec = replace(SPEC, augmentation=Augmentation(9))
    with pytest.raises(StoreError, match=r"about 1\.1 MB, 0\.2 MB are free"):
        create(file, Contents(scan(open_source(photos)), spec, {"a.avg": 1000}, "float32"))
    assert not file.exists()


# ---- the command


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_line_says_how_many_variants_and_info_how(photos, file):
    command = ["extract", photos, "-o", file, "--backbone", "pixels", "--size", 16]
    made = invoke(*command, "--augment", 2, "--augment-spec", TURNED, "--json")
    assert (made.exit_code, json.loads(made.stdout)["variants"]) == (0, 2)
    assert "2 variants of each image" in invoke(*command).stdout
    assert json.loads(invoke(*command, "--json").stdout)["variants"] == 2
    augmentation = asdict(Augmentation.parse(2, TURNED))
    assert describe(file)["spec"]["augmentation"] == augmentation
    assert json.loads(invoke("info", file, "--json").stdout)["spec"]["augmentation"] == augmentation
    shown = invoke("info", file).stdout
    assert "augmentation" in shown
    assert all(part in shown for part in ("rotation", "30", "brightness", "0.2", "seed"))


def test_without_variants_the_command_line_says_none(photos, file):
    command = ["extract", photos, "-o", file, "--backbone", "pixels", "--size", 16]
    assert json.loads(invoke(*command, "--json").stdout)["variants"] == 0
    assert "variants of each image" not in invoke(*command).stdout
