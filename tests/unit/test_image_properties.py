"""Properties of images: what extract keeps of each file and its colours, and where they arrive."""

import shutil

import h5py
import numpy as np
import pytest
from PIL import Image, ImageOps

from tlfeatures import Dataset, extract, import_features, load_dataset
from tlfeatures.errors import DatasetError, FormatError
from tlfeatures.features.images.properties import FILE_PROPERTIES, PROPERTIES
from tlfeatures.features.images.read_ahead import Decoding, ImageToRead, read_ahead

SETTINGS = {"backbone": "pixels", "size": 64}
RED, GREEN, BLUE = (PROPERTIES.index(f"{name}_mean") for name in ("red", "green", "blue"))


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    return tmp_path / "photos"


def of_file(folder, tmp_path):
    """Extract a folder: id -> name of property -> value."""
    extract(folder, tmp_path / "x.h5", **SETTINGS)
    data = load_dataset(tmp_path / "x.h5", "grid8.avg", near_duplicates=None)
    return {
        id_: dict(zip(PROPERTIES, row.tolist(), strict=True))
        for id_, row in zip(data.ids.tolist(), data.properties, strict=True)
    }


def noise(width, height):
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def test_names_are_different_and_those_of_the_file_are_first():
    assert len(set(PROPERTIES)) == len(PROPERTIES)
    assert PROPERTIES[:3] == ("bytes", "width", "height")
    assert PROPERTIES[FILE_PROPERTIES] == "red_mean"


def test_the_file_is_described(folder, tmp_path):
    picture = noise(120, 80)
    picture.save(folder / "a" / "1.png")
    for quality in (50, 90):
        picture.save(folder / "b" / f"{quality}.jpg", quality=quality)
    picture.save(folder / "b" / "x.bmp")
    found = of_file(folder, tmp_path)
    for id_, row in found.items():
        assert row["bytes"] == (folder / id_).stat().st_size
        assert (row["width"], row["height"]) == (120, 80)
    assert {id_: (row["jpeg"], row["png"]) for id_, row in found.items()} == {
        "a/1.png": (0, 1),
        "b/50.jpg": (1, 0),
        "b/90.jpg": (1, 0),
        "b/x.bmp": (0, 0),
    }
    tables = [found[id_]["jpeg_quantization"] for id_ in ("a/1.png", "b/90.jpg", "b/50.jpg")]
    with Image.open(folder / "b" / "50.jpg") as image:
        assert tables[2] == pytest.approx(np.mean(image.quantization[0]))
    assert 0 == tables[0] < tables[1] < tables[2]


def test_width_and_height_are_those_of_the_upright_image(folder, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    noise(120, 80).save(folder / "a" / "1.jpg", exif=exif)
    row = of_file(folder, tmp_path)["a/1.jpg"]
    assert (row["width"], row["height"], row["jpeg"]) == (80, 120, 1)
    assert row["jpeg_quantization"] > 0


def test_a_box_has_its_own_size_and_colours_and_the_bytes_of_its_file(folder, tmp_path):
    halves = np.zeros((60, 100, 3), np.uint8)
    halves[:, :40] = 255, 0, 0
    halves[:, 40:] = 0, 0, 255
    Image.fromarray(halves).save(folder / "a" / "1.png")
    table = tmp_path / "boxes.csv"
    table.write_text(
        "path,label,left,top,width,height\nphotos/a/1.png,red,0,0,40,60\n"
        "photos/a/1.png,blue,50,10,30,20\n"
    )
    extract(table, tmp_path / "x.h5", **SETTINGS)
    data = load_dataset(tmp_path / "x.h5", near_duplicates=None)
    rows = dict(zip(data.y.tolist(), data.properties.tolist(), strict=True))
    size = (folder / "a" / "1.png").stat().st_size
    assert rows["red"][:3] == [size, 40, 60]
    assert rows["blue"][:3] == [size, 30, 20]
    assert [rows["red"][name] for name in (RED, GREEN, BLUE)] == [255, 0, 0]
    assert [rows["blue"][name] for name in (RED, GREEN, BLUE)] == [0, 0, 255]


def test_colours_are_those_of_the_pixels(folder, tmp_path):
    flat = {"grey": (128, 128, 128), "orange": (255, 128, 0), "black": (0, 0, 0)}
    for name, colour in flat.items():
        Image.new("RGB", (90, 70), colour).save(folder / "a" / f"{name}.png")
    ImageOps.grayscale(noise(90, 70)).save(folder / "b" / "levels.png")
    Image.new("RGBA", (90, 70), (0, 0, 0, 0)).save(folder / "b" / "clear.png")
    found = of_file(folder, tmp_path)
    for name, colour in flat.items():
        row = found[f"a/{name}.png"]
        assert tuple(row[f"{channel}_mean"] for channel in ("red", "green", "blue")) == colour
        assert not any(row[f"{channel}_deviation"] for channel in ("red", "green", "blue"))
        bin_ = "colour_" + "".join(str(value // 64) for value in colour)
        assert row[bin_] == 1
    clear, levels = found["b/clear.png"], found["b/levels.png"]
    assert clear["red_mean"] == 255  # transparent parts are white
    assert levels["red_mean"] == levels["blue_mean"]
    assert levels["red_deviation"] > 20
    for row in found.values():
        assert sum(row[name] for name in PROPERTIES if name.startswith("colour")) == pytest.approx(
            1
        )


def test_colours_of_a_grid_are_near_those_of_all_pixels(folder):
    """An image with more pixels than are looked at."""
    y, x = np.mgrid[:224, :224]
    values = np.dstack([x, y, (x + y) // 2]).astype(np.uint8)
    images = [ImageToRead(0, Image.fromarray(values))]
    ((_, decoded),) = read_ahead(images, Decoding((224, 224)))
    row = dict(zip(PROPERTIES, decoded.properties.tolist(), strict=True))
    assert row["red_mean"] == pytest.approx(values[..., 0].mean(), abs=4)
    assert row["blue_deviation"] == pytest.approx(values[..., 2].std(), abs=4)
    assert np.isnan(row["bytes"])  # it is in memory
    assert (row["width"], row["height"], row["jpeg"]) == (224, 224, 0)


def test_images_with_the_same_bytes_have_the_same_row_and_keep_it(folder, tmp_path):
    for number in range(6):
        noise(40 + number, 30).save(folder / "ab"[number % 2] / f"{number}.png")
    shutil.copy(folder / "a" / "0.png", folder / "b" / "copy.png")
    before = of_file(folder, tmp_path)
    assert before["b/copy.png"] == before["a/0.png"]
    noise(99, 30).save(folder / "b" / "new.png")
    with h5py.File(tmp_path / "x.h5", "r+") as file:  # so that a row computed again would be seen
        file["properties"][1, 0] = 12345
    extract(folder, tmp_path / "x.h5", layers=["grid4"])
    after = of_file(folder, tmp_path)
    assert after.pop("b/new.png")["width"] == 99
    assert after["a/2.png"].pop("bytes") == 12345
    del before["a/2.png"]["bytes"]
    for id_ in ("a/0.png", "b/1.png", "a/2.png"):
        assert after[id_] == before[id_]


# ---- datasets


@pytest.fixture
def file(photos, tmp_path):
    extract(photos, tmp_path / "p.h5", backbone="pixels", size=16)
    return tmp_path / "p.h5"


def test_rows_of_a_dataset_keep_their_properties(file, tmp_path):
    data = load_dataset(file)
    assert (data.properties.shape, data.properties.dtype) == (
        (len(data), len(PROPERTIES)),
        np.float32,
    )
    np.testing.assert_array_equal(data[5:2:-1].properties, data.properties[5:2:-1])
    labels = {id_: label for id_, label in zip(data.ids, data.y, strict=True) if "0" in id_}
    some = load_dataset(file, labels=labels)
    rows = [data.ids.tolist().index(id_) for id_ in some.ids]
    assert 0 < len(rows) < len(data)
    np.testing.assert_array_equal(some.properties, data.properties[rows])


def test_joined_files_have_the_properties_of_the_first(photos, file, tmp_path):
    other = tmp_path / "q.h5"
    extract(photos, other, backbone="pixels", size=24)
    joined = load_dataset([file, other], f"{file}:grid8.avg+{other}:grid8.avg")
    np.testing.assert_array_equal(joined.properties, load_dataset(file).properties)


def test_arrays_and_imported_rows_have_none(tmp_path):
    X, y = np.random.default_rng(0).normal(size=(8, 3)), list("abababab")
    assert Dataset.from_arrays(X, y).properties is None
    np.save(tmp_path / "x.npy", X.astype(np.float32))
    import_features(tmp_path / "x.npy", tmp_path / "x.h5")
    data = load_dataset(tmp_path / "x.h5", labels=y)
    assert data.properties is None
    assert data[:4].properties is None
    with h5py.File(tmp_path / "x.h5") as opened:
        assert "properties" not in opened


def test_a_dataset_with_properties_of_other_images_is_refused(file):
    data = load_dataset(file)
    object.__setattr__(data, "properties", data.properties[:3])
    with pytest.raises(DatasetError, match="properties of the Dataset has 3 values"):
        data.check()


@pytest.mark.parametrize(
    ("shape", "dtype"), [((24, 75), "f4"), ((23, 76), "f4"), ((24, 76), "f8"), ((24,), "f4")]
)
def test_another_table_than_of_properties_is_refused_in_one_line(file, shape, dtype):
    with h5py.File(file, "r+") as opened:
        del opened["properties"]
        opened.create_dataset("properties", shape, dtype)
    with pytest.raises(FormatError, match=r"/properties is float.*, expected float32 \(24, 76\)"):
        load_dataset(file)
