"""Which files of a folder, or below a URL, are images, and what is said of the others."""

import io
import os
import random
import re
import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, features

from tests.fakes import write_image
from tlfeatures import Model, extract, load_dataset, make_head, verify
from tlfeatures.cli import main
from tlfeatures.errors import ParameterError, SourceError, TlfeaturesError
from tlfeatures.features.sources.endings import IMAGE_ENDINGS
from tlfeatures.features.sources.folders import FolderSource
from tlfeatures.models.evaluate import evaluate

PIXELS = {"backbone": "pixels", "size": 16}

# Formats that are decoded, and the options to write each.
FORMATS = {
    "JPEG": {}, "PNG": {}, "GIF": {}, "BMP": {}, "DIB": {}, "TIFF": {}, "WEBP": {}, "PPM": {},
    "JPEG2000": {}, "PCX": {}, "SGI": {},
}  # fmt: skip
if features.check("avif"):
    FORMATS["AVIF"] = {}


def encoded(format_, seed=0, **options):
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 20, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format_, **options)
    return buffer.getvalue()


def write(folder, name, data=b"x"):
    path = Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def ids(source):
    return [image.id for image in FolderSource(source).images()]


@pytest.fixture
def folder(tmp_path):
    """One image, cat/1.png."""
    write_image(tmp_path / "photos" / "cat" / "1.png", 1)
    return tmp_path / "photos"


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    yield system
    for path in system.ls("/", detail=False):
        system.rm(path, recursive=True)


def copy_to(system, folder):
    for path in Path(folder).rglob("*"):
        if path.is_file():
            system.pipe_file(f"/photos/{path.relative_to(folder)}", path.read_bytes())


# ---- the content decides where the name doesn't


@pytest.mark.parametrize("format_", FORMATS)
def test_an_image_of_any_other_name_is_found_and_read(folder, tmp_path, format_, caplog):
    names = ["a", "a.jpg_large", "a.tmp", "a.img", "2023.0001", "a.jpg "]
    for seed, name in enumerate(names):
        write(folder, f"cat/{name}", encoded(format_, seed, **FORMATS[format_]))
    assert set(ids(folder)) == {"cat/1.png", *(f"cat/{name}" for name in names)}
    assert not caplog.text
    result = extract(folder, tmp_path / "x.h5", **PIXELS)
    assert (result.computed, result.failed) == (7, [])


@pytest.mark.parametrize("ending", sorted(IMAGE_ENDINGS))
def test_what_ends_like_an_image_is_listed_whatever_it_holds(folder, ending):
    write(folder, f"cat/z{ending.upper()}", b"text")
    assert ids(folder) == ["cat/1.png", f"cat/z{ending.upper()}"]


@pytest.mark.parametrize("ending", ["tga", "jp2", "psd", "pcx", "sgi", "dib", "pnm"])
def test_formats_that_predict_reads_are_those_of_a_folder(folder, tmp_path, ending):
    formats = {"jp2": "JPEG2000", "pnm": "PPM"}
    data = b"" if ending == "psd" else encoded(formats.get(ending, ending.upper()))
    if ending == "psd":  # Pillow writes none: a header, and 1 x 1 grey pixels as they are
        data = b"8BPS\0\1" + bytes(6) + b"\0\1\0\0\0\1\0\0\0\1\0\x08\0\1" + bytes(12) + b"\0\0\x7f"
    write(folder, f"cat/x.{ending}", data)
    write_image(folder / "dog" / "1.png", 2)
    write_image(folder / "dog" / "2.png", 3)
    result = extract(folder, tmp_path / "x.h5", **PIXELS)
    assert (result.images, result.failed) == (4, [])
    model = Model.fit(make_head("centroid"), load_dataset(tmp_path / "x.h5"))
    answers = model.predict([folder])
    assert len(answers) == 4
    assert not [each.error for each in answers if each.error]
    assert verify(tmp_path / "x.h5", source=folder).ok


@pytest.mark.parametrize(
    "content", [b"", b"text", b"PK\3\4", b"%PDF-1.4", b"\n1,2,3", b"P2P", b"BM"]
)
def test_other_content_is_left_out_and_counted(folder, content, caplog):
    for name in ("a", "b.tmp", "c.img"):
        write(folder, f"cat/{name}", content)
    assert ids(folder) == ["cat/1.png"]
    assert "left out, as they are no images: 1 .img, 1 .tmp, 1 without an ending" in caplog.text


def test_no_text_or_noise_is_taken_for_an_image(folder):
    draw = random.Random(0)
    for number in range(300):
        data = draw.randbytes(64) if number % 2 else f"{draw.random()},P{number}\n".encode()
        write(folder, f"cat/{number}", data)
    assert ids(folder) == ["cat/1.png"]


@pytest.mark.parametrize("name", ["1.png_original", "1.png~", "1.thm", "1.bak", "1.png.part"])
def test_second_copies_and_previews_are_no_images(folder, name, caplog):
    write(folder, f"cat/{name}", encoded("JPEG"))
    assert ids(folder) == ["cat/1.png"]
    assert "left out, as they are no images: 1 ." in caplog.text


@pytest.mark.parametrize("name", ["IM0001", "1.2.840.10008", "slice.img"])
def test_dicom_is_told_by_its_content(folder, name):
    write(folder, f"cat/{name}", bytes(128) + b"DICM" + bytes(8))
    (folder / "cat" / "1.png").unlink()
    said = str(FolderSource(folder).no_images_error())
    assert said.endswith(
        "has 1 file and no image: 1 .dcm; DICOM can't be read: save as PNG or TIFF"
    )


def test_known_other_files_are_not_opened(folder, monkeypatch, caplog):
    write(folder, "cat/1.txt", encoded("PNG"))
    write(folder, "cat/1.dcm", encoded("TIFF"))
    write(folder, "cat/1.dng", encoded("TIFF"))
    assert ids(folder) == ["cat/1.png"]
    assert "1 .dcm, 1 .dng, 1 .txt; .dng, DICOM can't be read: save as PNG or TIFF" in caplog.text


def test_the_most_frequent_endings_are_named_and_the_others_counted(folder, caplog):
    for number in range(12):
        for copy in range(12 - number):
            write(folder, f"cat/{copy}.kind{number:02}")
    assert ids(folder) == ["cat/1.png"]
    assert "12 .kind00, 11 .kind01" in caplog.text
    assert "5 .kind07, 10 with other endings" in caplog.text
    assert len(caplog.records) == 1


def test_system_files_are_left_out_without_a_word(folder, caplog):
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._1.png", "ehthumbs.db", ".nomedia"):
        write(folder, f"cat/{name}", encoded("PNG"))
    assert ids(folder) == ["cat/1.png"]
    assert not caplog.text


def test_a_pipe_is_not_opened(folder):
    os.mkfifo(folder / "cat" / "pipe")
    os.mkfifo(folder / "cat" / "pipe.tmp")
    assert ids(folder) == ["cat/1.png"]


# ---- folders without an image


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["1.dcm"] * 10, "has 10 files and no image: 10 .dcm; DICOM can't be read: save as PNG"),
        (["1.DCM", "2.txt"], "has 2 files and no image: 1 .dcm, 1 .txt; DICOM can't be read"),
        (["1", "2"], "has 2 files and no image: 2 without an ending; expected .jpg, .png"),
        (["1.heic"], "has 1 file and no image: 1 .heic; HEIC can't be read: save as PNG or TIFF"),
        ([], "has no images; expected a folder"),
    ],
)
def test_a_folder_without_images_says_what_it_has(names, said, tmp_path, photos, memory):
    (tmp_path / "x").mkdir()
    for number, name in enumerate(names):
        write(tmp_path / "x", f"{number}/{name}")
    assert said in str(FolderSource(tmp_path / "x").no_images_error())
    extract(photos, tmp_path / "photos.h5", **PIXELS)
    model = Model.fit(make_head("centroid"), load_dataset(tmp_path / "photos.h5"))
    uses = [
        lambda source: extract(source, tmp_path / "new.h5", **PIXELS),
        lambda source: evaluate(model, source),
        lambda source: verify(tmp_path / "photos.h5", source=source),
        lambda source: model.predict([source]),
    ]
    sources = [tmp_path / "x"]
    if names:
        copy_to(memory, tmp_path / "x")
        sources.append("memory://photos")
    for source in sources:
        for use in uses:
            with pytest.raises(SourceError, match=re.escape(said.partition(";")[0])) as refused:
                use(source)
            assert "\n" not in str(refused.value)


def test_the_command_says_it_in_one_line(tmp_path):
    for number in range(3):
        write(tmp_path / "x", f"{number}.dcm")
    result = CliRunner().invoke(main, ["extract", str(tmp_path / "x"), "-o", str(tmp_path / "y")])
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "x has 3 files and no image: 3 .dcm; DICOM can't be read" in result.stderr


# ---- folders of other programs


SYSTEM = ["@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN", "__MACOSX", "lost+found", "#snapshot"]
SYSTEM += ["System Volume Information", "@tmp", ".thumbnails", ".Trash-1000", ".Trashes"]


@pytest.mark.parametrize("name", SYSTEM)
@pytest.mark.parametrize("above", ["", "cat/"])
@pytest.mark.parametrize("place", ["folder", "url"])
def test_folders_of_other_programs_are_no_classes(folder, memory, caplog, name, above, place):
    for number in range(2):
        write(folder, f"{above}{name}/1.png/thumb{number}.jpg", encoded("JPEG"))
    write(folder, f"{above}{name}/notes.txt")
    source = folder
    if place == "url":
        copy_to(memory, folder)
        source = "memory://photos"
    assert ids(source) == ["cat/1.png"]
    why = "other programs made these folders"
    if name.startswith("."):
        why = "the names of these folders begin with a dot"
    said = [f"left out, as {why}: 2 images in {name}"]
    unseen = place == "url" and name.startswith(".")  # file systems elsewhere hide them
    assert [record.getMessage() for record in caplog.records] == ([] if unseen else said)


def test_images_in_hidden_folders_are_counted_and_those_of_tools_are_not(folder, caplog):
    for name in (".net/1.jpg", "cat/.more/deep/2.jpg", ".git/3.jpg", ".snapshot/4.jpg"):
        write(folder, name, encoded("JPEG"))
    write(folder, ".empty/notes.txt")
    write(folder, "cat/._5.jpg", encoded("JPEG"))
    assert ids(folder) == ["cat/1.png"]
    (record,) = caplog.records
    assert record.getMessage().endswith("begin with a dot: 1 image in .net, 1 image in .more")


@pytest.mark.parametrize("name", ["thumbnails", "Thumbs", "_thumbs", "previews"])
def test_thumbnails_in_a_class_are_left_out_and_a_class_of_that_name_is_one(folder, caplog, name):
    write(folder, f"cat/{name}/1.jpg", encoded("JPEG"))
    write(folder, f"{name}/1.jpg", encoded("JPEG"))
    assert sorted(ids(folder)) == sorted(["cat/1.png", f"{name}/1.jpg"])
    (record,) = caplog.records
    assert record.getMessage().endswith(f"other programs made these folders: 1 image in {name}")


def test_all_of_them_are_said_at_once(folder, caplog):
    for name in ("@eaDir", "cat/@eaDir", "#recycle"):
        write(folder, f"{name}/1.jpg", encoded("JPEG"))
    assert ids(folder) == ["cat/1.png"]
    (record,) = caplog.records
    assert record.getMessage().endswith(": 1 image in #recycle, 2 images in @eaDir")


# ---- links


@pytest.mark.parametrize("link", ["aaa", "zzz", "cat/aaa", "bbb/deep"])
def test_a_link_to_a_class_takes_no_images_from_it(folder, link, caplog):
    write_image(folder / "bbb" / "2.png", 2)
    (folder / link).symlink_to(folder / "cat", target_is_directory=True)
    assert ids(folder) == ["bbb/2.png", "cat/1.png"]
    assert f"left out where they are listed already: '{link}'" in caplog.text


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_a_folder_outside_is_listed_once_by_its_first_link(folder, tmp_path, names, caplog):
    write_image(tmp_path / "outside" / "2.png", 2)
    for name in names:
        (folder / name).symlink_to(tmp_path / "outside", target_is_directory=True)
    assert ids(folder) == ["a/2.png", "cat/1.png"]
    assert "listed already: 'b'" in caplog.text


def test_links_that_lead_back_end(folder, tmp_path):
    write_image(tmp_path / "outside" / "deep" / "2.png", 2)
    (tmp_path / "outside" / "back").symlink_to(folder, target_is_directory=True)
    (tmp_path / "outside" / "class").symlink_to(folder / "cat", target_is_directory=True)
    (tmp_path / "outside" / "itself").symlink_to(tmp_path / "outside", target_is_directory=True)
    (folder / "up").symlink_to(tmp_path / "outside", target_is_directory=True)
    (folder / "above").symlink_to(tmp_path, target_is_directory=True)
    (folder / "cat" / "again").symlink_to(folder, target_is_directory=True)
    assert ids(folder) == ["above/outside/deep/2.png", "cat/1.png"]


def test_a_link_into_a_hidden_folder_of_the_source_is_followed(folder):
    """A store of data versions keeps the files there."""
    write_image(folder / ".store" / "f00" / "2.png", 2)
    (folder / "dog").symlink_to(folder / ".store" / "f00", target_is_directory=True)
    (folder / "eel").symlink_to(folder / ".store" / "f00", target_is_directory=True)
    assert ids(folder) == ["cat/1.png", "dog/2.png"]


def test_a_source_that_is_a_link_itself_lists_its_images(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    (folder / "again").symlink_to(tmp_path / "link" / "cat", target_is_directory=True)
    assert ids(tmp_path / "link") == ["cat/1.png"]


# ---- URLs


def test_below_a_url_the_content_decides_as_well(folder, memory, caplog):
    write(folder, "cat/a.jpg_large", encoded("JPEG"))
    write(folder, "cat/b", encoded("PNG"))
    write(folder, "cat/c", b"text")
    write(folder, "cat/d.txt", encoded("PNG"))
    copy_to(memory, folder)
    assert ids("memory://photos") == ids(folder) == ["cat/1.png", "cat/a.jpg_large", "cat/b"]
    messages = [record.getMessage() for record in caplog.records]
    assert messages == 2 * ["left out, as they are no images: 1 .txt, 1 without an ending"]


def test_starts_that_a_url_does_not_give_are_no_images(memory, monkeypatch):
    memory.pipe_file("/photos/a.png", encoded("PNG"))
    memory.pipe_file("/photos/b", encoded("PNG"))
    real = type(memory).cat_ranges

    def refuse(self, paths, *_, **__):
        return [PermissionError(13, "Access Denied") for _ in paths]

    monkeypatch.setattr(type(memory), "cat_ranges", refuse)
    assert ids("memory://photos") == ["a.png"]
    monkeypatch.setattr(type(memory), "cat_ranges", real)
    assert ids("memory://photos") == ["a.png", "b"]


@pytest.fixture
def model(photos, tmp_path):
    extract(photos, tmp_path / "photos.h5", **PIXELS)
    return Model.fit(make_head("centroid"), load_dataset(tmp_path / "photos.h5"))


def test_predict_and_evaluate_read_urls_as_they_read_paths(model, photos, memory, tmp_path):
    for number, path in enumerate(sorted(photos.rglob("*.png"))):
        with Image.open(path) as image:
            image.save(path.with_suffix(".bmp"))  # other bytes than the model has seen
        path.unlink()
        del number
    copy_to(memory, photos)
    local = {Path(each.path).name: each for each in model.predict([photos])}
    for inputs in (
        ["memory://photos"],
        ["memory://photos/"],
        [f"memory://photos/{name[:-6]}/{name}" for name in local],
    ):
        there = model.predict(inputs)
        assert len(there) == 24
        for each in there:
            assert each.path.startswith("memory://photos/")
            assert each.probabilities == local[Path(each.path).name].probabilities
    assert evaluate(model, "memory://photos").scores == evaluate(model, photos).scores
    lines = model.predict_stream(["memory://photos/red/red00.bmp", "memory://photos/nowhere.bmp"])
    assert [each.error is None for each in lines] == [True, False]


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:9/x.jpg", "s3://bucket/x", "memory://nowhere/x.png", "nonsense://x"]
)
def test_a_url_is_named_as_it_was_written(model, url, tmp_path):
    for use in (lambda: model.predict([url]), lambda: evaluate(model, url)):
        with pytest.raises(TlfeaturesError) as refused:
            use()
        assert url in str(refused.value)
        assert "\n" not in str(refused.value)


def test_a_path_that_is_not_there_is_still_wrong_usage(model, tmp_path):
    with pytest.raises(ParameterError, match="does not exist"):
        model.predict([tmp_path / "nowhere.png"])
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(ParameterError, match="does not exist"):
        model.predict([tmp_path / "photos"])


def test_a_folder_without_images_among_others_is_named(model, photos, tmp_path, caplog):
    write(tmp_path / "scans", "1.dcm")
    assert len(model.predict([tmp_path / "scans", photos / "red"])) == 12
    assert "scans has 1 file and no image: 1 .dcm; DICOM can't be read" in caplog.text
