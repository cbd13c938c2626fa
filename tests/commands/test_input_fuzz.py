"""Damaged files: each is embedded or named, and no other image is the worse for it.

Valid files of every format are damaged by seed and go through `extract` in a process of its own
with bounded memory, so that a crash or a hang shows.
"""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fakes import write_image
from tlfeatures.features.file.reader import open_embeddings

MEMORY = 4 << 30  # bytes of address space
INTACT = 8

# suffix -> what Pillow is asked for. Several ways to write one format read different code.
WAYS: list[tuple[str, dict[str, object]]] = [
    (".jpg", {"format": "JPEG"}),
    (".jpg", {"format": "JPEG", "progressive": True, "quality": 95}),
    (".jpg", {"format": "JPEG", "mode": "CMYK"}),
    (".png", {"format": "PNG"}),
    (".png", {"format": "PNG", "mode": "P"}),
    (".png", {"format": "PNG", "mode": "LA"}),
    (".gif", {"format": "GIF"}),
    (".gif", {"format": "GIF", "save_all": True}),
    (".webp", {"format": "WEBP"}),
    (".webp", {"format": "WEBP", "lossless": True, "save_all": True}),
    (".tiff", {"format": "TIFF"}),
    (".tiff", {"format": "TIFF", "compression": "tiff_lzw", "save_all": True}),
    (".tiff", {"format": "TIFF", "compression": "jpeg"}),
    (".tiff", {"format": "TIFF", "compression": "group4", "mode": "1"}),
    (".bmp", {"format": "BMP"}),
    (".bmp", {"format": "BMP", "mode": "P"}),
    (".ppm", {"format": "PPM"}),
    (".ppm", {"format": "PPM", "mode": "L"}),
    (".avif", {"format": "AVIF"}),
    (".png", {"format": "JPEG2000"}),  # the bytes decide: these are read, too
    (".png", {"format": "PCX"}),
    (".png", {"format": "SGI", "rle": True}),
    (".png", {"format": "TGA", "compression": "tga_rle"}),
]


def valid_files() -> list[tuple[str, bytes]]:
    """Each format, half smooth and half noise, with an EXIF orientation where it can have one."""
    smooth = np.add.outer(np.arange(40) * 3, np.arange(48) * 2).astype(np.uint8)
    values = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    values[:, :24] = smooth[:, :24, None]
    image = Image.fromarray(values)
    exif = Image.Exif()
    exif[274] = 6
    made = []
    for suffix, way in WAYS:
        options = dict(way)
        if options["format"] in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
            options["exif"] = exif
        if options.get("save_all"):
            options["append_images"] = [image.rotate(90), image.rotate(180)]
        buffer = io.BytesIO()
        image.convert(str(options.pop("mode", "RGB"))).save(buffer, **options)  # type: ignore[arg-type]
        made.append((suffix, buffer.getvalue()))
    return made


# ---- ways to damage a file


def flip(data: bytearray, random: np.random.Generator, others: list[bytes]) -> None:
    for at in random.integers(0, len(data), random.integers(1, 9)):
        data[at] ^= 1 << random.integers(8)


def overwrite(data: bytearray, random: np.random.Generator, others: list[bytes]) -> None:
    for at in random.integers(0, len(data), random.integers(1, 17)):
        data[at] = random.integers(256)


def cut(data: bytearray, random: np.random.Generator, others: list[bytes]) -> None:
    start = random.integers(0, len(data))
    end = len(data) if random.integers(2) else start + random.integers(1, 64)
    del data[start:end]


def insert(data: bytearray, random: np.random.Generator, others: list[bytes]) -> None:
    at = random.integers(0, len(data))
    data[at:at] = random.bytes(random.integers(1, 64))


def splice(data: bytearray, random: np.random.Generator, others: list[bytes]) -> None:
    other = others[random.integers(len(others))]
    data[random.integers(0, len(data)) :] = other[random.integers(0, len(other)) :]


def repeat(data: bytearray, random: np.random.Generator, others: list[bytes]) -> None:
    start = random.integers(0, len(data))
    part = data[start : start + random.integers(1, 256)]
    data[start:start] = part * int(random.integers(1, 64))


def edit_header(data: bytearray, random: np.random.Generator, others: list[bytes]) -> None:
    for at in random.integers(0, min(len(data), 64), random.integers(1, 5)):
        data[at] = random.choice([0, 1, 0x7F, 0x80, 0xFF, random.integers(256)])


def edit_number(data: bytearray, random: np.random.Generator, others: list[bytes]) -> None:
    """Lengths, sizes, offsets and counts that are extreme, somewhere or near the start."""
    width = int(random.choice([2, 4]))
    number = int(random.choice([0, 1, 0x7FFF, 0xFFFF, 20_000, 0x7FFFFFFF, 0xFFFFFFFF, 100_000]))
    order = "big" if random.integers(2) else "little"
    at = random.integers(0, min(len(data), 256) if random.integers(2) else len(data))
    data[at : at + width] = (number % (1 << 8 * width)).to_bytes(width, order)


DAMAGES: list[Callable[[bytearray, np.random.Generator, list[bytes]], None]] = [
    flip,
    overwrite,
    cut,
    insert,
    splice,
    repeat,
    edit_header,
    edit_number,
]


def damaged(seed: int, files: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """The suffix and the bytes of a valid file that was damaged once to three times."""
    random = np.random.default_rng(seed)
    suffix, data = files[seed % len(files)]
    mutant = bytearray(data)
    for _ in range(random.integers(1, 4)):
        DAMAGES[random.integers(len(DAMAGES))](mutant, random, [other for _, other in files])
        mutant = mutant or bytearray(1)
    return suffix, bytes(mutant)


# ---- the test


BOUNDED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
from tlfeatures.cli import main
main(sys.argv[2:])
"""


def extract_bounded(folder: Path, seconds: int) -> subprocess.CompletedProcess[str]:
    settings = ["--backbone", "pixels", "--size", "16", "--layer", "grid8.flatten", "--json"]
    command = ["extract", folder, "-o", folder.with_suffix(".h5"), *settings]
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", BOUNDED, str(MEMORY), *command],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=seconds,
    )


def done_rows(file: Path) -> dict[str, np.ndarray]:
    with open_embeddings(file) as reader:
        done = np.array(reader.header.ids)[reader.header.done].tolist()
        return dict(zip(done, reader.read("grid8.flatten"), strict=True))


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.long)])
@pytest.mark.slow
def test_damaged_files_are_embedded_or_named_and_poison_no_batch(count, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder in (alone, together):
        for number in range(INTACT):  # among the others by their names
            write_image(folder / "a" / f"{number * count // INTACT:05d}-intact.png", number)
    mutants = set()
    files = valid_files()
    for seed in range(count):
        suffix, data = damaged(seed, files)
        (together / "a" / f"{seed:05d}-mutant{suffix}").write_bytes(data)
        mutants.add(f"a/{seed:05d}-mutant{suffix}")
    seconds = 60 + count  # a hang ends here
    assert extract_bounded(alone, seconds).returncode == 0
    process = extract_bounded(together, seconds)
    assert process.returncode == 3, f"{process.returncode}: {process.stderr[-4000:]}"
    failed = {each["id"]: each["reason"] for each in json.loads(process.stdout)["failed"]}
    expected, rows = done_rows(alone.with_suffix(".h5")), done_rows(together.with_suffix(".h5"))
    assert len(expected) == INTACT
    assert all((rows.pop(id_) == row).all() for id_, row in expected.items())
    assert set(rows).isdisjoint(failed)
    assert {*rows, *failed} == mutants
    assert all(0 <= row.min() <= row.max() <= 1 for row in rows.values())
    assert all(reason.strip() and len(reason.splitlines()) == 1 for reason in failed.values())
    assert len(rows) > count // 20  # else little of the decoders was reached


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_gives_the_same_damage(seed):
    assert damaged(seed, valid_files()) == damaged(seed, valid_files())
