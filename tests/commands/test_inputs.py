"""Every kind of input has the outcome that docs/inputs.md states; CASES has the table's words."""

import contextlib
import functools
import io
import json
import os
import re
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageCms

from tests.commands import deep_input_cases as deep_input_cases
from tests.commands.input_cases import CASES, SIDE, case, encoded, picture, plain, quarters, write
from tests.fakes import decode, write_image
from tests.nobody import as_nobody, open_folder
from tests.unit.deep_files import before_pixels, png, png_chunk, tiff
from tlfeatures.cli import main
from tlfeatures.errors import ImageError, ParameterError
from tlfeatures.features.extract import extract
from tlfeatures.features.file.reader import open_embeddings
from tlfeatures.features.images.decoding import MAX_PIXELS
from tlfeatures.features.images.reading import LARGE_FILE

DOCS = Path(__file__).parents[2] / "docs" / "inputs.md"
SETTINGS = {"backbone": "pixels", "size": SIDE, "layers": ["grid8.flatten"]}


def animation(format_: str, **options: Any) -> bytes:
    frames = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("blue", "red")]
    return encoded(picture(), format_, save_all=True, append_images=frames, **options)


def with_transform(data: bytes, transform: int) -> bytes:
    """Say in a JPEG's Adobe segment how its colours are meant."""
    at = data.index(b"Adobe") + len(b"Adobe") + 6
    return data[:at] + bytes([transform]) + data[at + 1 :]


@functools.cache
def blank_png(side: int) -> bytes:
    """White, one bit a pixel, without the memory that Pillow would take to make it."""
    return png((b"\0" + b"\xff" * (side // 8)) * side, side, bits=1, kind=0)


# ---- what is in the file


@case("truncated JPEG", "refused")
def _(folder):
    data = encoded(Image.fromarray(noise(64)), "JPEG")
    write(folder, "a/1.jpg", data[: len(data) // 2])
    return {"a/1.jpg": r"image file is truncated \(\d+ bytes not processed\)"}


@case("JPEG without its end marker", "embedded", tolerance=4)
def _(folder):
    made = {}
    for number, progressive in enumerate((False, True)):
        data = encoded(picture(), "JPEG", progressive=progressive, quality=95, subsampling=0)
        made[write(folder, f"a/{number}.jpg", data[:-2])] = quarters()
    return made


@case("PNG with a damaged or very long text or profile", "embedded")
def _(folder):
    data = encoded(picture(), "PNG")
    text, long = png_chunk(b"tEXt", b"k\0abc"), zlib.compress(b"a" * 2_000_000)
    extras = [text[:-1] + b"x", *(png_chunk(kind, b"k\0\0" + long) for kind in (b"zTXt", b"iCCP"))]
    return {
        write(folder, f"a/{number}.png", before_pixels(data, extra)): quarters()
        for number, extra in enumerate(extras)
    }


@case("PNG with damaged pixels", "refused")
def _(folder):
    made = {}
    for color, step in ((10, 12), (200, 20)):
        data = bytearray(encoded(Image.new("RGB", (SIDE, SIDE), (color, 9, 9)), "PNG"))
        data[data.index(b"IDAT") + step] ^= 1
        reason = "its pixels are damaged: the checksum of an IDAT chunk is wrong"
        made[write(folder, f"a/{color}.png", bytes(data))] = reason
    return made


@case("file larger than memory", "embedded")
def _(folder):
    name = write(folder, "a/1.png", encoded(picture(), "PNG"))
    os.truncate(folder / name, LARGE_FILE + 1)  # zeros behind the image; see test_large_files.py
    return {name: quarters()}


@case("zero bytes", "refused")
def _(folder):
    return {write(folder, "a/1.jpg", b""): "the file is empty"}


@case("text named .jpg", "refused")
def _(folder):
    return {write(folder, "a/1.jpg", b"just some text"): "not an image that Pillow can read"}


@case("icon or PostScript named .png", "refused")
def _(folder):
    files = {"a/1.png": encoded(picture(), "ICO", sizes=[(16, 16)])}
    files["a/2.png"] = encoded(picture(), "EPS")
    return {write(folder, *item): "not an image that Pillow can read" for item in files.items()}


@case("JPEG of over 100 scans", "refused")
def _(folder):
    data = encoded(picture(), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    reason = "a JPEG of 1,0.. scans, where 100 are enough; save it anew"
    return {write(folder, "a/1.jpg", data[:-2] + 1000 * last + data[-2:]): reason}


@case("JPEG with other data behind it", "embedded", tolerance=4)
def _(folder):
    data = encoded(picture(), "JPEG", progressive=True, quality=95, subsampling=0)
    return {write(folder, "a/1.jpg", data + 1000 * b"\xff\xda\0"): quarters()}


@case("PNG named .jpg", "embedded")
def _(folder):
    return {write(folder, "a/1.jpg", encoded(picture(), "PNG")): quarters()}


@case("CMYK JPEG", "embedded", tolerance=4)
def _(folder):
    data = encoded(picture().convert("CMYK"), "JPEG", quality=95)
    assert (opened(data).mode, opened(data).info["adobe_transform"]) == ("CMYK", 0)
    return {write(folder, "a/1.jpg", data): quarters()}


@case("YCCK JPEG", "embedded", tolerance=4)
def _(folder):
    *inks, black = picture().convert("CMYK").split()
    turned = Image.merge("RGB", inks).convert("YCbCr").split()
    stored = [band.point(lambda value: 255 - value) for band in turned]  # as Adobe does
    data = encoded(Image.merge("CMYK", [*stored, black]), "JPEG", quality=95)
    return {write(folder, "a/1.jpg", with_transform(data, 2)): quarters()}


@case("16-bit grey", "embedded")
def _(folder):
    made = {}
    for value in (0, 256, 30000, 65535):
        image = Image.fromarray(np.full((SIDE, SIDE), value, np.uint16))
        for format_ in ("PNG", "TIFF"):
            name = f"a/{value}.{format_.lower()}"
            made[write(folder, name, encoded(image, format_))] = plain(value // 257)
    return made


@case("palette with transparency", "embedded")
def _(folder):
    image = Image.new("P", (SIDE, SIDE), 0)
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.paste(1, (0, 0, SIDE // 2, SIDE))
    expected = plain(255)
    expected[:, :4] = 200, 0, 0
    files = {"a/1.png": encoded(image, "PNG", transparency=0)}
    files["a/2.gif"] = encoded(image, "GIF", transparency=0)
    return {write(folder, *item): expected for item in files.items()}


@case("grey with alpha", "embedded")
def _(folder):
    half, none = Image.new("LA", (SIDE, SIDE), (0, 128)), Image.new("LA", (SIDE, SIDE), (0, 0))
    multiplied = tiff(np.full((SIDE, SIDE, 2), (38, 128), np.uint8), extrasamples=["assocalpha"])
    return {
        write(folder, "a/1.png", encoded(half, "PNG")): plain(127),
        write(folder, "a/2.png", encoded(none, "PNG")): plain(255),
        write(folder, "a/3.tif", multiplied): plain(165),
    }


@case("TIFF with a palette of 8 bits", "embedded")
def _(folder):
    made, indices = {}, np.zeros((SIDE, SIDE), np.uint8)
    for scale in (1, 257):
        colours = np.tile(np.array([[200], [100], [50]], np.uint16), 256) * scale
        data = tiff(indices, photometric="palette", colormap=colours)
        made[write(folder, f"a/{scale}.tif", data)] = plain(200, 100, 50)
    return made


@case("1-bit", "embedded")
def _(folder):
    image = Image.fromarray(np.arange(SIDE).reshape(1, -1).repeat(SIDE, 0) >= SIDE // 2)
    expected = plain(0)
    expected[:, 4:] = 255
    return {
        write(folder, "a/1.png", encoded(image, "PNG")): expected,
        write(folder, "a/2.tiff", encoded(image, "TIFF", compression="group4")): expected,
        write(folder, "a/3.pbm", encoded(image, "PPM")): expected,
    }


@case("animated GIF", "embedded")
def _(folder):
    return {write(folder, "a/1.gif", animation("GIF")): quarters()}


@case("animated WebP", "embedded")
def _(folder):
    return {write(folder, "a/1.webp", animation("WEBP", lossless=True)): quarters()}


@case("BMP", "embedded")
def _(folder):
    return {write(folder, "a/1.bmp", encoded(picture(), "BMP")): quarters()}


@case("TIFF of several pages", "embedded")
def _(folder):
    return {write(folder, "a/1.tiff", animation("TIFF")): quarters()}


@case("PPM", "embedded")
def _(folder):
    return {write(folder, "a/1.ppm", encoded(picture(), "PPM")): quarters()}


@case("AVIF", "embedded", tolerance=6)
def _(folder):
    data = encoded(picture(), "AVIF", quality=100, subsampling="4:4:4")
    return {write(folder, "a/1.avif", data): quarters()}


@case("EXIF orientations 1 to 8", "embedded")
def _(folder):
    stored_as = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    made = {}
    for orientation in range(1, 9):
        turn = stored_as.get(orientation)
        stored = picture() if turn is None else picture().transpose(turn)
        exif = Image.Exif()
        exif[274] = orientation
        for format_ in ("PNG", "TIFF"):
            name = f"a/{orientation}.{format_.lower()}"
            made[write(folder, name, encoded(stored, format_, exif=exif))] = quarters()
    return made


@case("embedded ICC profile", "embedded")
def _(folder):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert opened(encoded(picture(), "PNG", icc_profile=profile)).info["icc_profile"] == profile
    return {
        write(folder, "a/1.png", encoded(picture(), "PNG", icc_profile=profile)): quarters(),
        write(folder, "a/2.png", encoded(picture(), "PNG", icc_profile=b"no profile")): quarters(),
    }


@case("1x1", "embedded")
def _(folder):
    image = Image.new("RGB", (1, 1), (10, 20, 30))
    return {write(folder, "a/1.png", encoded(image, "PNG")): plain(10, 20, 30)}


@case("20,000x20,000", "refused")
def _(folder):
    reason = r"400,000,000 pixels are more than the limit of 178,956,970; .*--max-pixels.*"
    return {write(folder, "a/1.png", blank_png(20_000)): reason}


@case("20,000x20,000 with `--max-pixels 400000000`", "embedded", options={"max_pixels": 4 * 10**8})
def _(folder):
    return {write(folder, "a/1.png", blank_png(20_000)): plain(255)}


# ---- what the file is called, and where it is


@case("names with spaces", "embedded")
def _(folder):
    return {write(folder, "a b/ 1 .png", encoded(picture(), "PNG")): quarters()}


@case("names with newlines", "embedded")
def _(folder):
    return {write(folder, "a\nb/1\n2.png", encoded(picture(), "PNG")): quarters()}


@case("names with non-ASCII letters", "embedded")
def _(folder):
    return {write(folder, "été/日本.png", encoded(picture(), "PNG")): quarters()}


@case("names of invalid UTF-8", "embedded")
def _(folder):
    if sys.platform == "darwin":
        pytest.skip("macOS has no such names")
    write(folder, b"a/\xff1.png", encoded(picture(), "PNG"))
    return {"a/\\udcff1.png": quarters()}


@case("symlink loop of folders", "left out")
def _(folder):
    (folder / "ok" / "again").symlink_to(folder)
    return {}


@case("symlink to itself", "refused")
def _(folder):
    (folder / "ok" / "1.png").symlink_to("1.png")
    return {"ok/1.png": "Too many levels of symbolic links"}


@case("broken symlink", "refused")
def _(folder):
    (folder / "ok" / "1.png").symlink_to("nowhere.png")
    return {"ok/1.png": "No such file or directory"}


@case("hidden files and folders", "left out")
def _(folder):
    write(folder, "ok/.1.png", encoded(picture(), "PNG"))
    write(folder, ".a/1.png", encoded(picture(), "PNG"))
    return {}


@case("system files", "left out")
def _(folder):
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "__MACOSX/._ok.jpg", "._1.png"):
        write(folder, f"ok/{name}", b"\0\5\x16\7")
    return {}


@case("pipes and devices", "left out")
def _(folder):
    os.mkfifo(folder / "ok" / "1.png")
    return {}


@case("HEIC, camera raw and DICOM", "left out")
def _(folder):
    for name in ("1.HEIC", "2.cr2", "3.dng", "4.dcm"):
        write(folder, f"ok/{name}", b"x")
    return {}


@case("images of another ending, or of none", "embedded")
def _(folder):
    names = ("a/1", "a/1.jpg_large", "a/1.tmp")
    return {write(folder, name, encoded(picture(), "PNG")): quarters() for name in names}


@case("other files", "left out")
def _(folder):
    for name in ("notes.txt", "labels", "x.tmp"):
        write(folder, f"ok/{name}", b"some text")
    return {}


@case("folders of other programs", "left out")
def _(folder):
    for name in ("@eaDir/1.png", "#recycle/2.png", "ok/__MACOSX/3.png", "lost+found/4.png"):
        write(folder, name, encoded(picture(), "PNG"))
    return {}


@case("link to a folder that is listed anyway", "left out")
def _(folder):
    (folder / "another name").symlink_to(folder / "ok")
    return {}


@case("unreadable permissions", "refused", as_nobody=True)
def _(folder):
    name = write(folder, "a/1.png", encoded(picture(), "PNG"))
    (folder / name).chmod(0)
    return {name: "Permission denied"}


@case("the same name in two classes", "embedded")
def _(folder):
    black = Image.new("RGB", (SIDE, SIDE))
    return {
        write(folder, "a/1.png", encoded(picture(), "PNG")): quarters(),
        write(folder, "b/1.png", encoded(black, "PNG")): plain(0),
    }


@case("identical bytes in two classes", "embedded")
def _(folder):
    data = encoded(picture(), "PNG")
    return {write(folder, f"{label}/1.png", data): quarters() for label in "ab"}


# ---- the tests


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def noise(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)


def colours(file: Path) -> dict[str, np.ndarray]:
    """What is embedded, by id: 8 x 8 colours."""
    with open_embeddings(file) as reader:
        values = np.rint(reader.read("grid8.flatten") * 255).astype(int).reshape(-1, 8, 8, 3)
        done = np.array(reader.header.ids)[reader.header.done]
        return dict(zip(done.tolist(), values, strict=True))


def extract_as_nobody(base: Path) -> Any:
    """Embed base/photos into base/photos.h5 as a user whom permissions bind."""
    options = ["--json", "--backbone", "pixels", "--size", SIDE, "--layer", "grid8.flatten"]
    return as_nobody("extract", base / "photos", "-o", base / "photos.h5", *options)


@pytest.mark.parametrize("words", CASES)
def test_an_input_has_its_outcome(words, tmp_path):
    each = CASES[words]
    with open_folder() if each.as_nobody else contextlib.nullcontext(tmp_path) as base:
        folder, file = base / "photos", base / "photos.h5"
        write(folder, "ok/ok.png", encoded(picture(), "PNG"))
        expected = each.make(folder)
        if each.as_nobody:
            said = extract_as_nobody(base)
            assert said.returncode == 3, said.stderr
            failed = json.loads(said.stdout.splitlines()[-1])["failed"]
        else:
            failed = extract(folder, file, **SETTINGS, **each.options).failed
        found = colours(file)
    reasons = {id_: what for id_, what in expected.items() if isinstance(what, str)}
    pixels = {id_: what for id_, what in expected.items() if id_ not in reasons}
    assert each.outcome == ("refused" if reasons else "embedded" if pixels else "left out")
    assert {item["id"] for item in failed} == set(reasons)
    for item in failed:
        assert re.fullmatch(reasons[item["id"]], item["reason"])
    assert set(found) == {"ok/ok.png", *pixels}
    for id_, colour in {"ok/ok.png": quarters(), **pixels}.items():
        assert np.abs(found[id_] - colour.astype(int)).max() <= each.tolerance, id_


def test_the_docs_name_the_same_inputs_and_outcomes():
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+) \|$", DOCS.read_text("utf-8"), re.MULTILINE)
    stated = {words: outcome for words, outcome, _ in rows if words not in ("input", "---")}
    assert stated == {words: each.outcome for words, each in CASES.items()}


def test_identical_bytes_are_computed_once(tmp_path):
    CASES["identical bytes in two classes"].make(tmp_path / "photos")
    result = extract(tmp_path / "photos", tmp_path / "photos.h5", **SETTINGS)
    assert (result.computed, result.reused) == (1, 1)


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "photos" / "ok" / "ok.png", 0)
    return tmp_path / "photos"


def extract_command(folder: Path, *options: Any) -> Any:
    file = folder.with_suffix(".h5")
    return run("extract", folder, "-o", file, "--backbone", "pixels", "--size", "16", *options)


def test_what_can_not_be_read_is_named_and_the_exit_code_is_3(folder):
    write(folder, "a/1.jpg", b"")
    result = extract_command(folder)
    assert (result.exit_code, result.stderr) == (3, "can't read a/1.jpg: the file is empty\n")


def test_a_name_that_can_not_be_printed_stays_on_one_line(folder):
    write(folder, "a/1\n\x1b[31m\xff é.jpg".replace("\xff", "\udcff"), b"")
    named = r"a/1\n\x1b[31m\udcff é.jpg"
    expected = f"can't read {named}: the file is empty\n"
    assert extract_command(folder).stderr == expected
    (folder / "ok" / "ok.png").unlink()
    for path in (folder.parent / "photos.h5", folder / "ok"):
        path.unlink() if path.is_file() else path.rmdir()
    result = extract_command(folder)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert named in result.stderr


def test_left_out_formats_are_named_with_what_to_do(folder, caplog):
    CASES["HEIC, camera raw and DICOM"].make(folder)
    assert extract_command(folder).exit_code == 0
    assert "1 .cr2, 1 .dcm, 1 .dng, 1 .heic; .cr2, .dng, DICOM, HEIC can't be read" in caplog.text


@pytest.mark.slow
def test_a_folder_that_can_not_be_listed_ends_the_run():
    with open_folder() as base:
        write(base / "photos", "a/1.png", encoded(picture(), "PNG"))
        (base / "photos" / "a").chmod(0)
        process = extract_as_nobody(base)
    assert process.returncode == 1
    assert process.stderr.endswith("photos/a can't be listed: Permission denied\n")


# ---- the limit of pixels


def header_only(data: bytes) -> bytes:
    """A PNG that says how large it is, and has no pixels."""
    return data[: data.index(b"IDAT") + 8]


def test_too_many_pixels_are_refused_before_any_is_decoded(folder):
    write(folder, "a/1.png", header_only(encoded(picture(), "PNG")))
    limited = extract_command(folder, "--max-pixels", 255)
    assert "256 pixels are more than the limit of 255" in limited.stderr
    assert "256 pixels" not in extract_command(folder, "--max-pixels", 256).stderr


@pytest.mark.parametrize("format_", ["GIF", "TIFF", "WEBP", "PNG", "AVIF"])
def test_the_limit_holds_for_formats_of_several_frames(format_):
    data = animation(format_)
    assert decode(data, (8, 8), SIDE * SIDE).shape == (8, 8, 3)
    with pytest.raises(ImageError, match=r"256 pixels are more than the limit of 255"):
        decode(data, (8, 8), SIDE * SIDE - 1)


def test_an_image_is_tried_again_with_another_limit(folder):
    assert extract_command(folder, "--max-pixels", 20).exit_code == 1
    assert extract_command(folder).exit_code == 0
    write(folder, "a/1.png", encoded(Image.new("L", (30, 30)), "PNG"))
    assert extract_command(folder, "--max-pixels", 200).exit_code == 3
    result = extract_command(folder, "--json")
    assert (result.exit_code, json.loads(result.stdout)["computed"]) == (0, 1)


def test_a_larger_limit_of_one_run_is_none_of_another(tmp_path):
    data = blank_png(20_000)
    write_image(tmp_path / "photos" / "ok" / "ok.png", 0)
    extract(tmp_path / "photos", tmp_path / "photos.h5", **SETTINGS, max_pixels=10**9)
    assert Image.MAX_IMAGE_PIXELS >= 5 * 10**8
    with pytest.raises(ImageError, match="more than the limit of 178,956,970"):
        decode(data, (8, 8))


@pytest.mark.parametrize("command", ["extract", "predict", "evaluate"])
def test_the_commands_state_the_limit_of_the_library(command):
    said = run(command, "--help").stdout
    assert str(MAX_PIXELS) in said[said.index("--max-pixels") :].split("--", 2)[1]


def test_no_pixels_are_no_limit(folder):
    with pytest.raises(ParameterError, match="max_pixels must be 1 or more, got 0"):
        extract(folder, folder.with_suffix(".h5"), max_pixels=0)


def test_predict_and_evaluate_keep_the_limit(photos, tmp_path):
    file, model = tmp_path / "photos.h5", tmp_path / "photos.model"
    assert run("extract", photos, "-o", file, "--backbone", "pixels", "--size", 16).exit_code == 0
    assert run("fit", file, "-o", model).exit_code == 0
    for number, label in enumerate(["red", "red", "blue", "blue"]):
        write_image(tmp_path / "new" / label / f"{number}.png", number)
    large = Image.new("RGB", (20, 20), "red")
    write(tmp_path / "new", "red/large.png", encoded(large, "PNG"))
    for command in ("predict", "evaluate"):
        result = run(command, model, tmp_path / "new", "--max-pixels", 200)
        assert result.exit_code == 3, result.output
        assert "400 pixels are more than the limit of 200" in result.stderr
        assert run(command, model, tmp_path / "new").exit_code == 0


def test_an_image_that_memory_does_not_suffice_for_is_named(monkeypatch):
    data = encoded(picture(), "PNG")

    def load(image):
        raise MemoryError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(ImageError, match="not enough memory"):
        decode(data, (8, 8))
