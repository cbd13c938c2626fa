"""Files larger than memory: they are hashed and decoded without being read whole."""

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fakes import decode, write_image
from tlfeatures.features.images import reading
from tlfeatures.features.images.decoding import decode_content
from tlfeatures.features.images.identify import UNREADABLE, identify
from tlfeatures.features.images.read_ahead import Decoding, ImageToRead, read_ahead
from tlfeatures.features.images.reading import Content, open_content
from tlfeatures.features.sources.records import ImageRecord

SIZE = (16, 16)
MEMORY = 256 << 20  # bytes that a child process may allocate after its imports
HUGE = MEMORY + (64 << 20)

BOUNDED = """
import re, resource, sys
from pathlib import Path
import tlfeatures.features.extract
from tlfeatures.cli import main
status = Path("/proc/self/status").read_text()
loaded = 1024 * int(re.search(r"VmSize:\\s+(\\d+)", status)[1])
resource.setrlimit(resource.RLIMIT_AS, (loaded + int(sys.argv[1]),) * 2)
main(sys.argv[2:])
"""


def record_of(path: Path) -> ImageRecord:
    return ImageRecord(path.name, str(path.parent), path.name)


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8))


def encoded(format_: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture().save(buffer, format_, **options)
    return buffer.getvalue()


def sparse(path: Path, start: bytes, size: int) -> None:
    """A file that begins with these bytes; the rest are zeros that take no space."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)


def extract_bounded(folder: Path) -> subprocess.CompletedProcess[str]:
    settings = ["--backbone", "pixels", "--size", "16", "--layer", "grid8.flatten", "--json"]
    command = ["extract", folder, "-o", folder.with_suffix(".h5"), *settings]
    return subprocess.run(
        [sys.executable, "-c", BOUNDED, str(MEMORY), *command],
        env=os.environ | {"MALLOC_ARENA_MAX": "2"},  # a thread's own would take address space
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.slow
def test_a_file_larger_than_memory_is_read_or_named_and_the_others_are_done(tmp_path):
    folder = tmp_path / "photos"
    write_image(folder / "a" / "ok.png", 0, 16)
    sparse(folder / "a" / "behind.png", encoded("PNG"), HUGE)  # zeros behind an image
    sparse(folder / "a" / "zeros.jpg", b"", HUGE)
    data = encoded("WEBP", lossless=True)  # whose decoder wants the whole file
    sparse(folder / "a" / "whole.webp", data, HUGE)
    process = extract_bounded(folder)
    assert process.returncode == 3, process.stderr
    result = json.loads(process.stdout)
    assert result["computed"] == 2
    assert {each["id"]: each["reason"] for each in result["failed"]} == {
        "a/whole.webp": "there is not enough memory to decode it",
        "a/zeros.jpg": "not an image that Pillow can read",
    }


@pytest.fixture
def few_bytes_are_many(monkeypatch):
    monkeypatch.setattr(reading, "LARGE_FILE", 100)


@pytest.mark.usefixtures("few_bytes_are_many")
@pytest.mark.parametrize(
    ("format_", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("PPM", {}),
        ("AVIF", {}),
        ("JPEG2000", {}),
    ],
)
def test_an_open_file_gives_the_pixels_of_its_bytes(format_, options, tmp_path):
    data = encoded(format_, **options)
    path = tmp_path / "image"
    path.write_bytes(data)
    with open_content(path) as content:
        assert content.sha256() == hashlib.sha256(data).digest()
        assert (decode_content(content, SIZE).pixels == decode(data, SIZE)).all()
    assert identify(record_of(path))[0] == hashlib.sha256(data).digest()
    ((_, found),) = read_ahead(
        [ImageToRead(0, path, hashlib.sha256(data).digest())], Decoding(SIZE)
    )
    assert (found.pixels == decode(data, SIZE)).all()


@pytest.mark.usefixtures("few_bytes_are_many")
@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_an_open_file_of_16_bits_gives_the_pixels_of_its_bytes(kind, tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, SIZE).astype(kind)
    for suffix in ("png", "tif"):
        if suffix == "png" and kind is np.int32:
            continue
        path = tmp_path / f"image.{suffix}"
        Image.fromarray(values).save(path)
        with open_content(path) as content:
            found = decode_content(content, SIZE, value_range=(0, 4095)).pixels
        assert (found[..., 0] == values.astype(int) * 255 // 4095).all()


@pytest.mark.usefixtures("few_bytes_are_many")
def test_a_damaged_open_file_is_mended(tmp_path):
    data = encoded("JPEG")
    path = tmp_path / "image.jpg"
    path.write_bytes(data[:-2])
    with open_content(path) as content:
        assert (decode_content(content, SIZE).pixels == decode(data, SIZE)).all()


@pytest.mark.usefixtures("few_bytes_are_many")
@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 2**20, 3 * 2**20 + 1])
def test_files_are_hashed_whole(size, tmp_path):
    data = os.urandom(size)
    path = tmp_path / "image.png"
    path.write_bytes(data)
    assert identify(record_of(path))[0] == hashlib.sha256(data).digest()


@pytest.mark.parametrize("what", ["sha256", "stream"])
def test_memory_that_runs_out_is_one_image_s_error(what, tmp_path, monkeypatch):
    write_image(tmp_path / "1.png", 0)
    write_image(tmp_path / "2.png", 1, side=20)
    lacking = tmp_path / "1.png"

    def fail(self, *arguments):
        if self.size == lacking.stat().st_size:
            raise MemoryError
        return original(self, *arguments)

    original = getattr(Content, what)
    monkeypatch.setattr(Content, what, fail)
    if what == "sha256":
        assert identify(record_of(lacking))[0] == UNREADABLE
    files = [
        ImageToRead(n, tmp_path / f"{n}.png", b"" if what == "sha256" else None) for n in (1, 2)
    ]
    found = dict(read_ahead(files, Decoding(SIZE)))
    assert "not enough memory" in str(found[1])
    assert "not enough memory" not in str(found[2])


@pytest.mark.usefixtures("few_bytes_are_many")
def test_an_open_file_that_changes_while_it_is_decoded_is_named(tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    path.write_bytes(encoded("PNG"))
    original = Content.stream

    def written_to(self):
        path.write_bytes(encoded("PNG") + b"more")
        return original(self)

    files = [ImageToRead(0, path, hashlib.sha256(path.read_bytes()).digest())]
    assert (dict(read_ahead(files, Decoding(SIZE)))[0].pixels == decode(encoded("PNG"), SIZE)).all()
    monkeypatch.setattr(Content, "stream", written_to)
    for expected in (files[0].sha256, None):
        path.write_bytes(encoded("PNG"))
        found = dict(read_ahead([ImageToRead(0, path, expected)], Decoding(SIZE)))[0]
        assert str(found) == "it changed during the run; run the command again"


def test_parts_are_counted_across_blocks(tmp_path):
    data = (b"\xff\xda" + b"\0" * 1021) * 5000
    data = data[:-1] + b"\xff\xda"
    path = tmp_path / "image"
    path.write_bytes(data)
    with path.open("rb") as file:
        assert Content(file).count(b"\xff\xda") == Content(data).count(b"\xff\xda") == 5001
