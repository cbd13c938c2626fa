"""Files whose pixels are whole are read, whatever else in them is damaged or missing."""

import functools
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.fakes import decode
from tlfeatures.errors import ImageError
from tlfeatures.features.images.decoding import decode_content, thumbnail
from tlfeatures.features.images.reading import Content

SIZE = (24, 32)


@functools.cache
def picture(mode: str = "RGB") -> Image.Image:
    """A smooth half and a noisy one."""
    values = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    values[:, :16] = np.add.outer(np.arange(24) * 5, np.arange(16) * 7)[..., None]
    return Image.fromarray(values).convert(mode)


def encoded(image: Image.Image, format_: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


# ---- PNG


def chunk(kind: bytes, content: bytes, *, crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def with_chunk(data: bytes, extra: bytes, before: bytes = b"IDAT") -> bytes:
    at = data.index(before) - 4
    return data[:at] + extra + data[at:]


LONG = zlib.compress(b"a" * 2_000_000)
EXTRAS = {
    "a long compressed text": chunk(b"zTXt", b"k\0\0" + LONG),
    "a long international text": chunk(b"iTXt", b"k\0\1\0en\0k\0" + LONG),
    "a long profile": chunk(b"iCCP", b"p\0\0" + LONG),
    "a text with a wrong checksum": chunk(b"tEXt", b"k\0abc", crc=1),
    "a profile with a wrong checksum": chunk(b"iCCP", b"p\0\0" + zlib.compress(b"x"), crc=1),
    "a time with a wrong checksum": chunk(b"tIME", bytes(7), crc=1),
    "a private chunk with a wrong checksum": chunk(b"prVt", b"x", crc=1),
    "an orientation with a wrong checksum": chunk(b"eXIf", b"x", crc=1),
    "an unknown compression of a text": chunk(b"zTXt", b"k\0\7x"),
    "an unknown compression of a profile": chunk(b"iCCP", b"p\0\7x"),
    "half a gamma": chunk(b"gAMA", b"x"),
    "half a resolution": chunk(b"pHYs", b"x"),
    "half of the colours": chunk(b"cHRM", b"x"),
    "an empty intent": chunk(b"sRGB", b""),
    "an animation of other frames": chunk(
        b"fcTL", struct.pack(">5I2H2B", 9, 9, 9, 0, 0, 1, 1, 0, 0)
    ),
    "half an animation": chunk(b"acTL", b"x"),
    "several": chunk(b"tEXt", b"k\0abc", crc=1) + chunk(b"zTXt", b"k\0\0" + LONG),
}


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
@pytest.mark.parametrize("what", EXTRAS)
def test_a_png_is_read_whatever_is_damaged_beside_its_pixels(what, mode):
    data = encoded(picture(mode), "PNG")
    damaged = with_chunk(data, EXTRAS[what])
    assert (decode(damaged, SIZE) == decode(data, SIZE)).all()
    assert thumbnail(Content(damaged), 16) == thumbnail(Content(data), 16)


@pytest.mark.parametrize("what", ["a long compressed text", "an unknown compression of a text"])
def test_a_png_is_read_whatever_is_damaged_behind_its_pixels(what):
    data = encoded(picture(), "PNG")
    damaged = with_chunk(data, EXTRAS[what], before=b"IEND")
    assert (decode(damaged, SIZE) == decode(data, SIZE)).all()


def test_texts_that_are_long_together_are_left_out():
    data = encoded(picture(), "PNG")
    texts = chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 1_000_000)) * 70
    assert (decode(with_chunk(data, texts), SIZE) == decode(data, SIZE)).all()


@pytest.mark.parametrize("how", ["eXIf", "zTXt", "iTXt"])
def test_a_png_is_turned_upright_though_a_text_is_damaged(how):
    exif = Image.Exif()
    exif[274] = 3
    raw = exif.tobytes()
    data = encoded(picture(), "PNG")
    said = {
        "eXIf": chunk(b"eXIf", raw.removeprefix(b"Exif\0\0")),
        "zTXt": chunk(
            b"zTXt",
            b"Raw profile type exif\0\0"
            + zlib.compress(f"\nexif\n{len(raw):8}\n{raw.hex()}".encode()),
        ),
        "iTXt": chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="3"/>'),
    }
    turned = with_chunk(data, said[how])
    assert (decode(turned, SIZE) == decode(data, SIZE)[::-1, ::-1]).all()
    damaged = with_chunk(turned, EXTRAS["several"])
    assert (decode(damaged, SIZE) == decode(turned, SIZE)).all()


def test_a_png_stays_transparent_though_a_text_is_damaged():
    data = encoded(picture("P"), "PNG", transparency=3)
    damaged = with_chunk(data, EXTRAS["a text with a wrong checksum"])
    assert (decode(damaged, SIZE) == decode(data, SIZE)).all()
    wrong = chunk(b"tRNS", bytes(4), crc=1)
    with pytest.raises(ImageError):  # nobody knows which pixels are transparent
        decode(with_chunk(encoded(picture("P"), "PNG"), wrong), SIZE)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_half_a_png_is_no_image(share):
    data = with_chunk(encoded(picture(), "PNG"), EXTRAS["several"])
    with pytest.raises(ImageError):
        decode(data[: int(len(data) * share)], SIZE)


@pytest.mark.parametrize(
    ("kind", "where"),
    [(kind, "content") for kind in ("IHDR", "PLTE", "IDAT")]
    + [(kind, "checksum") for kind in ("IHDR", "PLTE", "IDAT", "IEND")],
)
def test_a_png_with_a_damaged_critical_chunk_is_refused(kind, where, tmp_path):
    data = encoded(picture("P"), "PNG")
    reason = f"its pixels are damaged: the checksum of an? {kind} chunk is wrong"
    for position in places(data, kind, where):
        damaged = bytearray(data)
        damaged[position] ^= 1
        for attempt in (lambda file: decode(file, SIZE), lambda file: thumbnail(Content(file), 16)):
            with pytest.raises(ImageError, match=reason):
                attempt(bytes(damaged))
        (tmp_path / "large.png").write_bytes(damaged)
        with (
            (tmp_path / "large.png").open("rb") as file,
            pytest.raises(ImageError, match=reason),
        ):
            decode_content(Content(file), SIZE)


def places(data: bytes, kind: str, where: str) -> list[int]:
    """Some positions in a chunk's content, or that of its checksum."""
    at = data.index(kind.encode())
    length = int.from_bytes(data[at - 4 : at], "big")
    content = [at + 4 + length * share // 5 for share in range(5)]
    return [at + 4 + length + byte for byte in range(4)] if where == "checksum" else content


def several_chunks() -> bytes:
    """A PNG whose pixels are in chunks of 100 bytes."""
    data = encoded(picture(), "PNG")
    at = data.index(b"IDAT") - 4
    length = int.from_bytes(data[at : at + 4], "big")
    pixels = data[at + 8 : at + 8 + length]
    parts = (pixels[start : start + 100] for start in range(0, length, 100))
    return data[:at] + b"".join(chunk(b"IDAT", part) for part in parts) + data[at + 12 + length :]


def test_every_chunk_of_pixels_is_checked():
    data = several_chunks()
    starts = [at for at in range(len(data)) if data[at : at + 4] == b"IDAT"]
    assert len(starts) > 10
    assert (decode(data, SIZE) == decode(encoded(picture(), "PNG"), SIZE)).all()
    for start in starts:
        damaged = bytearray(data)
        damaged[start + 4] ^= 4
        with pytest.raises(ImageError, match="checksum of an IDAT chunk is wrong"):
            decode(bytes(damaged), SIZE)


def test_the_checksum_of_all_pixels_counts_too():
    data = encoded(picture(), "PNG")
    at = data.index(b"IDAT") - 4
    length = int.from_bytes(data[at : at + 4], "big")
    pixels = bytearray(data[at + 8 : at + 8 + length])
    pixels[-1] ^= 1
    damaged = data[:at] + chunk(b"IDAT", bytes(pixels)) + data[at + 12 + length :]
    with pytest.raises(ImageError, match="broken data stream"):
        decode(damaged, SIZE)


def test_what_follows_a_png_is_not_checked():
    data = encoded(picture(), "PNG")
    for tail in (b"\0" * 99, chunk(b"IDAT", b"x", crc=1), b"\xff\xff\xff\xffIDAT", data[:40]):
        assert (decode(data + tail, SIZE) == decode(data, SIZE)).all()


# ---- JPEG

WAYS = {
    "baseline": {},
    "optimized": {"optimize": True},
    "no subsampling": {"subsampling": 0, "quality": 95},
    "progressive": {"progressive": True},
    "restart in rows": {"restart_marker_rows": 1},
    "restart in blocks": {"restart_marker_blocks": 3},
    "progressive with restart": {"progressive": True, "restart_marker_blocks": 2},
}


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("way", WAYS)
def test_a_jpeg_without_its_end_marker_is_read(way, mode):
    data = encoded(picture(mode), "JPEG", **WAYS[way])
    expected = decode(data, SIZE)
    for end in (b"", b"\xff", b"\0" * 100, b"\xff\xff"):
        assert (decode(data[:-2] + end, SIZE) == expected).all()
    assert thumbnail(Content(data[:-2]), 16)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("way", WAYS)
def test_a_jpeg_is_read_as_it_was_or_refused_wherever_it_is_cut(way, mode):
    data = encoded(picture(mode), "JPEG", **WAYS[way])
    expected = decode(data, SIZE)
    cuts = sorted({*range(2, len(data), 13), *range(len(data) - 40, len(data))})
    read = {cut: pixels for cut in cuts if (pixels := decoded(data[:cut])) is not None}
    assert all((pixels == expected).all() for pixels in read.values())
    assert {len(data) - 2, len(data) - 1} <= read.keys()
    assert len(read) < len(cuts) // 3


def decoded(data: bytes) -> np.ndarray | None:
    try:
        return decode(data, SIZE)
    except ImageError:
        return None


def test_scans_that_are_missing_whole_are_missed():
    data = encoded(picture(), "JPEG", progressive=True)
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for cut in scans[1:]:  # the picture is there, less sharp
        with pytest.raises(ImageError, match="truncated"):
            decode(data[:cut], SIZE)


def test_a_thumbnail_inside_of_a_jpeg_is_not_its_end():
    small = encoded(picture().resize((8, 6)), "JPEG")
    exif = b"Exif\0\0" + small
    data = encoded(picture(), "JPEG")
    marked = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert (decode(marked[:-2], SIZE) == decode(data, SIZE)).all()
    with pytest.raises(ImageError):
        decode(marked[:-60], SIZE)
