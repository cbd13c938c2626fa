"""What libraries print of damaged TIFF files doesn't reach the terminal: our own lines do."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.fakes import write_image
from tests.unit.deep_files import tiff

PILLOW_ALONE = """
import sys
from pathlib import Path
from PIL import Image
for path in Path(sys.argv[1]).iterdir():
    try:
        Image.open(path).load()
    except Exception:
        pass
"""


def run(*arguments) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")


@pytest.fixture
def damaged(tmp_path):
    """Several damaged files of each of libtiff's ways to compress, and one good image."""
    folder = tmp_path / "photos" / "a"
    write_image(folder / "ok.png", 0)
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    image = Image.fromarray(values)
    for compression in ("group3", "group4", "jpeg", "packbits", "tiff_lzw", "lzma"):
        buffer = io.BytesIO()
        mode = "1" if compression.startswith("group") else "RGB"
        image.convert(mode).save(buffer, "TIFF", compression=compression)
        for seed in range(12):
            random, data = np.random.default_rng(seed), bytearray(buffer.getvalue())
            for at in random.integers(0, len(data), random.integers(1, 9)):
                data[at] = random.integers(256)
            (folder / f"{compression}{seed}.tif").write_bytes(data)
    many = bytearray(tiff(values, photometric="rgb"))
    at = many.index((277).to_bytes(2, "little"))
    many[at + 8 : at + 10] = (9999).to_bytes(2, "little")  # samples a pixel, of which Pillow logs
    (folder / "many.tif").write_bytes(many)
    return folder


def test_only_our_own_lines_reach_the_terminal(damaged, tmp_path):
    control = run("-W", "ignore", "-c", PILLOW_ALONE, damaged).stderr
    assert "TIFFFillStrip" in control
    assert "More samples per pixel" in control
    settings = ["--backbone", "pixels", "--size", 16]
    process = run("-m", "tlfeatures", "extract", damaged.parent, "-o", tmp_path / "x.h5", *settings)
    assert process.returncode == 3, process.stderr
    lines = process.stderr.splitlines()
    assert len(lines) > 10
    ours = ("can't read a/", "WARNING: ")
    assert all(line.startswith(ours) for line in lines), process.stderr
