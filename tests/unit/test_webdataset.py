"""Labels of WebDataset's tars: small files beside each image."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from tlfeatures import extract, load_dataset
from tlfeatures.features.sources.folder_labels import LabelRow
from tlfeatures.features.sources.open_source import open_source

PIXELS = {"backbone": "pixels", "size": 16}


def image(seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 15, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def shard(tmp_path):
    """Write a tar of these files."""

    def write(files, name="shard-000.tar"):
        with tarfile.open(tmp_path / name, "w") as archive:
            for file, content in files.items():
                data = content.encode() if isinstance(content, str) else content
                member = tarfile.TarInfo(file)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return tmp_path / name

    return write


def samples(kind, texts, **others):
    """Return images with a file of this kind beside each."""
    files = {f"{n:04d}.jpg": image(n) for n in range(len(texts))}
    return files | {f"{n:04d}.{kind}": text for n, text in enumerate(texts)} | others


def labels_of(path):
    rows = open_source(path).labels()
    return None if rows is None else [row.label for row in rows.values()]


@pytest.mark.parametrize(
    ("kind", "texts", "labels"),
    [
        ("cls", ["0", "1\n", " 0"], ["0", "1", "0"]),
        ("cls", ["ant", "bee", "ant\n"], ["ant", "bee", "ant"]),
        ("json", ['{"label": 3, "width": 5}', '{"label": 4}'], ["3", "4"]),
        ("json", ['{"label": 3, "class_name": "bee"}', '{"class_name": "ant"}'], ["bee", "ant"]),
        ("json", ['{"class": "bee"}', '{"category": "ant"}'], ["bee", "ant"]),
        ("txt", ["ant", "bee", "ant", "bee"], ["ant", "bee", "ant", "bee"]),
    ],
)
def test_labels_are_read_beside_the_images(shard, kind, texts, labels):
    path = shard(samples(kind, texts))
    assert labels_of(path) == labels
    assert [record.id for record in open_source(path).images()] == [
        f"shard-000.tar/{n:04d}.jpg" for n in range(len(texts))
    ]


def test_captions_and_other_facts_are_no_labels(shard):
    assert labels_of(shard(samples("txt", ["a bee", "an ant", "a fly", "a bee"]))) is None
    assert labels_of(shard(samples("json", ['{"caption": "a bee"}', '{"label": [1, 2]}']))) is None
    assert labels_of(shard(samples("json", ["[1", "5"]))) is None
    assert labels_of(shard({"ant/1.jpg": image()})) is None


def test_a_cls_is_preferred_to_a_json(shard):
    files = samples("cls", ["ant", "bee"]) | {"0000.json": '{"label": "x"}'}
    assert labels_of(shard(files)) == ["ant", "bee"]


def test_the_key_of_a_sample_ends_at_the_first_dot(shard):
    path = shard({"a/1.left.jpg": image(1), "a/1.right.jpg": image(2), "a/1.cls": "x",
                  "b.c/1.jpg": image(3), "b.c/1.cls": "y"})  # fmt: skip
    assert open_source(path).labels() == {
        "shard-000.tar/a/1.left.jpg": LabelRow("x"),
        "shard-000.tar/a/1.right.jpg": LabelRow("x"),
        "shard-000.tar/b.c/1.jpg": LabelRow("y"),
    }


def test_images_without_a_label_are_counted_and_the_first_is_named(shard, caplog):
    files = samples("cls", ["ant", "bee"]) | {"7.jpg": image(7), "8.jpg": image(8), "8.cls": ""}
    assert labels_of(shard(files)) == ["ant", "bee", None, None]
    assert "2 of 4 images have no label in a .cls file, the first one is '7.jpg'" in caplog.text


def test_labels_without_an_image_are_counted_and_those_of_images_are_not(shard, caplog):
    path = shard(samples("cls", ["ant", "bee"], **{"99.cls": "x"}))
    assert len(list(open_source(path).images())) == 2
    assert "left out, as they are no images: 1 .cls" in caplog.text


@pytest.mark.parametrize("place", ["in the tar", "beside", "above"])
def test_numbers_get_the_names_in_classnames_txt(shard, tmp_path, place):
    files = samples("cls", ["1", "0"])
    if place == "in the tar":
        files["classnames.txt"] = "ant\nbee\n"
    path = shard(files)
    if place == "beside":
        (tmp_path / "classnames.txt").write_text("ant\nbee\n")
    if place == "above":
        (tmp_path / "classnames.txt").write_text("ant\nbee\n")
        (tmp_path / "train").mkdir()
        path = path.rename(tmp_path / "train" / "0.tar")
    assert labels_of(path) == ["bee", "ant"]


def test_names_that_are_too_few_are_not_used(shard, tmp_path):
    (tmp_path / "classnames.txt").write_text("ant\n")
    assert labels_of(shard(samples("cls", ["1", "0"]))) == ["1", "0"]


def test_shards_named_by_splits_give_the_splits(shard, tmp_path):
    files = {name: samples("cls", ["ant", "bee"]) for name in ("t-train-0.tar", "t-test-0.tar")}
    files["t-test-0.tar"] |= {"0000.jpg": image(5), "0001.jpg": image(6)}
    paths = [shard(samples_, name) for name, samples_ in files.items()]
    result = extract(paths, tmp_path / "a.h5", **PIXELS)
    assert (result.classes, result.splits) == ({"ant": 2, "bee": 2}, {"train": 2, "test": 2})
    data = load_dataset(tmp_path / "a.h5")
    assert (data.y.tolist(), data.split.tolist()) == (
        ["ant", "bee"] * 2,
        ["test"] * 2 + ["train"] * 2,
    )


def test_a_dataset_reads_the_labels_again(shard, tmp_path):
    path = shard(samples("cls", ["ant", "bee", "ant"]))
    extract(path, tmp_path / "a.h5", **PIXELS)
    shard(samples("cls", ["ant", "bee", "bee"]))
    assert load_dataset(tmp_path / "a.h5").y.tolist() == ["ant", "bee", "bee"]
