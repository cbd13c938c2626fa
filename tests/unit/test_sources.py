"""What all sources share: opening them, several at once, boxes, labels that a source states."""

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.fakes import write_image
from tlfeatures import describe, extract, load_dataset
from tlfeatures.errors import ImageError, ParameterError, SourceError
from tlfeatures.features.embed import ComputeOptions, Embedder, EmbeddingRun
from tlfeatures.features.images.identify import identify, scan
from tlfeatures.features.images.read_ahead import ImageToRead
from tlfeatures.features.settings import Settings, complete_settings
from tlfeatures.features.sources.folder_labels import labels_from_folders
from tlfeatures.features.sources.open_source import open_source, source_facts, stated_labels
from tlfeatures.features.sources.records import Box, ImageRecord, id_with_box, id_without_box

PIXELS = {"backbone": "pixels", "size": 16}


def ids(*locations):
    return [image.id for image in open_source(locations).images()]


@pytest.fixture
def two(tmp_path):
    """The folders site1 and site2, each with a cat and a dog."""
    for number, name in enumerate(("site1/cat/1.png", "site1/dog/2.png", "site2/cat/1.png")):
        write_image(tmp_path / name, number)
    return tmp_path / "site1", tmp_path / "site2"


# ---- opening


def test_what_is_no_source_is_one_line(tmp_path):
    (tmp_path / "notes.md").write_text("no table")
    with pytest.raises(ParameterError, match=r"notes\.md is a file of another kind; expected a f"):
        open_source(tmp_path / "notes.md")
    with pytest.raises(ParameterError, match=r"nowhere does not exist; expected a folder"):
        open_source(tmp_path / "nowhere")
    with pytest.raises(ParameterError, match="no source of images is given"):
        open_source([])
    with pytest.raises(ParameterError, match="is of type ndarray; expected a path or URL"):
        open_source([np.zeros((9, 9, 3), np.uint8)])


def test_a_folder_takes_no_options_of_tables(two):
    with pytest.raises(ParameterError, match=r"site1 is no table"):
        open_source(two[0], images=two[1])
    with pytest.raises(ParameterError, match=r"site1 is no table"):
        open_source(two[0], columns={"id": "name"})


# ---- several sources


def test_ids_of_several_folders_begin_with_the_name_of_the_folder(two):
    assert ids(*two) == ["site1/cat/1.png", "site1/dog/2.png", "site2/cat/1.png"]


def test_folders_of_one_name_are_told_apart_by_the_folders_above_them(tmp_path):
    for number, name in enumerate(("a/images/1.png", "b/images/1.png")):
        write_image(tmp_path / name, number)
    assert ids(tmp_path / "a" / "images", tmp_path / "b" / "images") == [
        "a/images/1.png",
        "b/images/1.png",
    ]


def test_a_second_folder_is_added_without_computing_the_first_one_again(two, tmp_path):
    file = tmp_path / "x.h5"
    first = extract(two[0], file, **PIXELS)
    both = extract(list(two), file)
    assert (first.computed, both.computed, both.reused) == (2, 1, 2)
    assert load_dataset(file).ids.tolist() == ids(*two)


def test_the_same_folder_twice_has_each_image_once(two):
    assert ids(two[0], two[0]) == ids(two[0], two[0])
    assert len(set(ids(two[0], two[0]))) == 2


def test_other_spellings_and_links_are_the_same_folder(two, tmp_path):
    (tmp_path / "link").symlink_to(two[0])
    others = f"{two[0]}/", two[0] / ".." / "site1", tmp_path / "link", f"file://{two[0]}"
    for other in others:
        assert ids(two[0], other, two[1]) == ids(*two)


def test_a_folder_inside_of_another_one_is_refused(two, tmp_path):
    """Its images would have two ids, and perhaps two labels."""
    (tmp_path / "link").symlink_to(two[0] / "cat")
    for inner in (two[0] / "cat", tmp_path / "link"):
        for pair in ((two[0], inner), (inner, two[0])):
            with pytest.raises(ParameterError, match=r"is inside of .*site1, so that its images"):
                open_source(pair)


@pytest.mark.parametrize(
    ("path", "problem"), [("", "is empty"), ("a\0", "no path"), ("a" * 5000, "no path")]
)
def test_what_is_no_path_is_one_line(two, path, problem):
    for paths in (path, [two[0], path]):
        with pytest.raises(ParameterError, match=problem):
            open_source(paths)


# ---- labels


def test_the_classes_of_several_folders_are_the_folders_inside_of_them(two, tmp_path):
    """Also where the folders have different subfolders, so that nothing hints at a mistake."""
    write_image(two[1] / "fox" / "3.png", 7)
    result = extract(list(two), tmp_path / "x.h5", **PIXELS)
    assert result.classes == {"cat": 2, "dog": 1, "fox": 1}
    shutil.rmtree(two[0])  # the images are not needed for their labels
    assert load_dataset(tmp_path / "x.h5").y.tolist() == ["cat", "dog", "cat", "fox"]
    assert describe(tmp_path / "x.h5")["classes"] == result.classes


def test_folders_with_images_of_their_own_are_classes(two, tmp_path):
    flat = [two[0] / "cat", two[0] / "dog"]
    assert extract(flat, tmp_path / "x.h5", **PIXELS).classes == {"cat": 1, "dog": 1}
    assert load_dataset(tmp_path / "x.h5").y.tolist() == ["cat", "dog"]


def test_splits_inside_of_several_folders_are_splits(tmp_path):
    for number, name in enumerate(("u1/train/cat/1.png", "u1/val/dog/2.png", "u2/train/dog/3.png")):
        write_image(tmp_path / name, number)
    extract([tmp_path / "u1", tmp_path / "u2"], tmp_path / "x.h5", **PIXELS)
    data = load_dataset(tmp_path / "x.h5")
    assert data.y.tolist() == ["cat", "dog", "dog"]
    assert data.split.tolist() == ["train", "val", "train"]


def test_the_labels_of_a_table_may_be_named_after_its_images_were_embedded(two, tmp_path):
    rows = ["Foto;Art", "cat/1.png;Katze", "dog/2.png;Hund"]
    (two[0] / "list.csv").write_text("\n".join(rows))
    extract(two[0] / "list.csv", tmp_path / "x.h5", columns={"id": "Foto"}, **PIXELS)
    data = load_dataset(tmp_path / "x.h5", columns={"label": "Art"})
    assert data.y.tolist() == ["Katze", "Hund"]


def test_the_name_of_an_archive_is_no_label():
    rows = labels_from_folders(["photos.zip/cat/1.png", "photos.zip/dog/2.png", "photos.zip/3.png"])
    assert [row.label for row in rows] == ["cat", "dog", None]


def test_archives_named_as_splits_are_splits():
    rows = labels_from_folders(["train.zip/cat/1.png", "test.zip/dog/2.png"])
    assert [(row.label, row.split) for row in rows] == [("cat", "train"), ("dog", "test")]


def test_the_archive_of_a_test_set_alone_is_no_class():
    rows = labels_from_folders(["seg_test.zip/cat/1.png", "seg_test.zip/dog/2.png"])
    assert [(row.label, row.split) for row in rows] == [("cat", None), ("dog", None)]


def test_a_source_that_stated_labels_and_is_gone_is_an_error(tmp_path):
    facts = source_facts(tmp_path / "gone.csv", states_labels=True)
    with pytest.raises(SourceError, match=r"gone\.csv does not exist.*give --labels"):
        stated_labels(facts)
    assert stated_labels(source_facts(tmp_path / "gone")) is None


# ---- boxes


def test_a_box_has_all_pixels_that_it_touches():
    assert Box(1.5, 2, 3, 0.25).pixels(10, 10) == (1, 2, 5, 3)


def test_a_box_is_cut_off_at_the_edges_of_the_image():
    assert Box(-5, -5, 100, 8).pixels(10, 20) == (0, 0, 10, 3)
    with pytest.raises(ImageError, match=r"outside of its image, which has 10 x 20 pixels"):
        Box(10, 0, 5, 5).pixels(10, 20)


@pytest.mark.parametrize("numbers", [(0, 0, 0, 1), (0, 0, 1, -1), (0, float("nan"), 1, 1)])
def test_a_box_without_an_area_is_refused(numbers):
    with pytest.raises(ValueError, match="a box has"):
        Box(*numbers)


@given(
    st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.1, 90), st.floats(0.1, 90)),
    st.integers(1, 60),
    st.integers(1, 60),
)
@settings(max_examples=200)
def test_the_pixels_of_a_box_are_inside_of_the_image_and_never_none(numbers, width, height):
    try:
        left, top, right, bottom = Box(*numbers).pixels(width, height)
    except ImageError:
        return
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_the_id_of_a_part_has_the_box_at_its_end():
    box = Box(10, 20.5, 80, 90)
    assert id_with_box("a/b.jpg", box) == "a/b.jpg#box=10,20.5,80,90"
    assert id_without_box("a/b.jpg#box=10,20.5,80,90") == "a/b.jpg"
    assert id_with_box("a/b.jpg", None) == id_without_box("a/b.jpg") == "a/b.jpg"


def test_parts_of_one_file_have_digests_of_their_own(tmp_path):
    write_image(tmp_path / "1.png", 1)
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes())
    boxes = (None, Box(0, 0, 4, 4), Box(0, 0, 4, 5))
    digests = [
        [identify(ImageRecord("x", str(tmp_path), name, box))[0] for box in boxes]
        for name in ("1.png", "2.png")
    ]
    assert digests[0] == digests[1]
    assert len(set(digests[0])) == 3


def embedded(records):
    _, spec = complete_settings(Settings(**PIXELS), None, {}, "cpu")
    images = [ImageToRead.of(record.id, record, identify(record)[0]) for record in records]
    run = EmbeddingRun(Embedder(spec, ["grid8.avg"], ComputeOptions()), images, len(images))
    return np.concatenate([batch.images["grid8.avg"] for batch in run.batches()])


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_a_part_has_the_embedding_of_the_same_part_saved_as_a_file(tmp_path, orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "whole.png", exif=exif)
    upright = np.rot90(pixels, {1: 0, 6: 3, 8: 1}[orientation])
    Image.fromarray(np.ascontiguousarray(upright[5:25, 3:18])).save(tmp_path / "part.png")
    folder = str(tmp_path)
    part, whole = embedded(
        [
            ImageRecord("part", folder, "whole.png", Box(3, 5, 15, 20)),
            ImageRecord("file", folder, "part.png"),
        ]
    )
    assert np.array_equal(part, whole)


def test_a_box_outside_of_its_image_is_a_failure_of_that_image_alone(tmp_path):
    write_image(tmp_path / "1.png", 1)
    _, spec = complete_settings(Settings(**PIXELS), None, {}, "cpu")
    records = [
        ImageRecord("outside", str(tmp_path), "1.png", Box(1000, 0, 5, 5)),
        ImageRecord("inside", str(tmp_path), "1.png", Box(0, 0, 5, 5)),
    ]
    images = [ImageToRead.of(record.id, record) for record in records]
    run = EmbeddingRun(Embedder(spec, ["grid8.avg"], ComputeOptions()), images, 2)
    assert [batch.keys for batch in run.batches()] == [["inside"]]
    assert [key for key, _ in run.failures] == ["outside"]


def test_a_manifest_of_several_sources_is_sorted_by_id(two):
    manifest = scan(open_source(list(two)))
    assert manifest.ids == sorted(manifest.ids)
