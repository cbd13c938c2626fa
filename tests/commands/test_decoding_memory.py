"""Images that need much memory are decoded one after the other, in order, and none is lost."""

import io
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.fakes import decode, write_image
from tests.unit.deep_files import png
from tlfeatures.features.images import decoding
from tlfeatures.features.images.memory import MemoryBudget
from tlfeatures.features.images.read_ahead import Decoding, ImageToRead, read_ahead

SIZE = (8, 8)


# ---- the budget


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 15), min_size=1, max_size=12), st.integers(1, 10))
def test_no_more_is_in_use_than_there_is(amounts, total):
    budget, lock = MemoryBudget(total), threading.Lock()
    used: list[int] = []
    most: list[int] = []

    def work(amount):
        with budget.reserve(amount):
            with lock:
                used.append(min(amount, total))
                most.append(sum(used))
            time.sleep(0.0005)
            with lock:
                used.remove(min(amount, total))

    threads = [threading.Thread(target=work, args=(amount,)) for amount in amounts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert len(most) == len(amounts)
    assert max(most) <= total


def test_one_that_needs_much_is_not_passed_over():
    budget, order = MemoryBudget(10), []

    def work(name, amount):
        with budget.reserve(amount):
            order.append(name)

    with budget.reserve(5):
        large = threading.Thread(target=work, args=("large", 10))
        large.start()
        wait_until_waiting(large)
        small = threading.Thread(target=work, args=("small", 1))
        small.start()
        wait_until_waiting(small)
        assert order == []
    large.join()
    small.join()
    assert order == ["large", "small"]


def wait_until_waiting(thread):
    time.sleep(0.05)
    assert thread.is_alive()


def test_what_fails_gives_its_memory_back():
    budget = MemoryBudget(10)
    for _ in range(3):
        with pytest.raises(KeyError), budget.reserve(10):
            raise KeyError
    with budget.reserve(10):
        pass


# ---- decoding


class Watched(MemoryBudget):
    """Notes what was asked for, and how many had it at the same time."""

    def __init__(self, total):
        super().__init__(total)
        self.amounts, self.now, self.most = [], 0, 0

    def reserve(self, amount):
        self.amounts.append(amount)
        return super().reserve(amount)


@pytest.fixture
def watched(monkeypatch):
    budget = Watched(2**30)
    monkeypatch.setattr(decoding, "MEMORY", budget)
    return budget


def encoded(image, format_="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("image", "least"),
    [
        (Image.new("L", (100, 80)), 1),
        (Image.new("RGB", (100, 80)), 4),
        (Image.new("RGBA", (100, 80)), 8),
        (Image.new("LA", (100, 80)), 8),
        (Image.new("P", (100, 80)), 5),
        (Image.new("I;16", (100, 80)), 5),
    ],
)
def test_what_an_image_needs_follows_from_its_header(image, least, watched):
    data = encoded(image)
    decode(data, SIZE)
    broken = data[: data.index(b"IDAT") + 8]  # no pixel is there
    with pytest.raises(decoding.ImageError):
        decode(broken, SIZE)
    needed, again = watched.amounts[0], watched.amounts[1]
    assert needed == again
    assert 100 * 80 * least <= needed <= 100 * 80 * 40


def test_a_narrow_high_image_counts_as_it_is_resized(watched):
    decode(encoded(Image.new("L", (10, 5000))), (8, 2000))
    assert watched.amounts[0] >= 4 * 2000 * 5000


def test_large_and_small_images_come_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MEMORY", MemoryBudget(100_000))
    files = []
    for number in range(40):
        write_image(tmp_path / f"{number}.png", number, 200 if number % 3 == 0 else 10)
        files.append(ImageToRead(number, tmp_path / f"{number}.png"))
    found = [(key, result.pixels) for key, result in read_ahead(files, Decoding(SIZE))]
    assert [key for key, _ in found] == list(range(40))
    for key, pixels in found:
        assert (pixels == decode((tmp_path / f"{key}.png").read_bytes(), SIZE)).all()


def test_who_stops_asking_ends_the_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MEMORY", MemoryBudget(1))
    write_image(tmp_path / "1.png", 0, 100)
    before = set(threading.enumerate())  # threads of earlier tests may end meanwhile
    decoded = read_ahead((ImageToRead(n, tmp_path / "1.png") for n in range(10**9)), Decoding(SIZE))
    next(decoded)
    decoded.close()
    assert set(threading.enumerate()) <= before


PEAK = """
import re, sys
from pathlib import Path
from tlfeatures.features.images import decoding
from tlfeatures.features.images.read_ahead import Decoding, ImageToRead, read_ahead
from tlfeatures.features.images.memory import MemoryBudget
decoding.MEMORY = MemoryBudget(int(sys.argv[2]))
files = [ImageToRead(path.name, path) for path in sorted(Path(sys.argv[1]).iterdir())]
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
start = peak()
assert not any(isinstance(found, Exception) for _, found in read_ahead(files, Decoding((8, 8))))
print(peak() - start)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells it there")
@pytest.mark.slow
def test_hostile_files_take_the_memory_of_one(tmp_path):
    side = 4200  # one takes enough for its memory to be given back
    folder = tmp_path / "hostile"
    folder.mkdir()
    row = b"\0" + bytes([60]) * (4 * side)
    for number in range(4):
        (folder / f"{number}.png").write_bytes(png(row * side, side, 8, 6))
        assert (folder / f"{number}.png").stat().st_size < 500_000
    command = [sys.executable, "-W", "ignore", "-c", PEAK, folder, str(2**20)]
    peak = 1024 * int(subprocess.run(command, check=True, capture_output=True).stdout)
    one = 8 * side * side  # the image, and laid over white
    assert one <= peak < 1.5 * one


TAKEN = """
import io, re, sys
from pathlib import Path
from PIL import Image
from tlfeatures.features.images import decoding
from tlfeatures.features.images.reading import Content
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
small = io.BytesIO()
Image.new("RGB", (8, 8)).save(small, sys.argv[2])
decoding.decode_content(Content(small.getvalue()), (8, 8))  # the library is loaded
asked, data = [], Path(sys.argv[1]).read_bytes()
reserve = decoding.MEMORY.reserve
decoding.MEMORY.reserve = lambda amount: asked.append(amount) or reserve(amount)
start = peak()
decoding.decode_content(Content(data), (8, 8), value_range=(0, 4095))
print(asked[0], peak() - start)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells it there")
@pytest.mark.parametrize(
    ("format_", "mode", "options"),
    [
        ("JPEG", "RGB", {"progressive": True, "subsampling": 0}),
        ("PNG", "RGBA", {"compress_level": 1}),
        ("WEBP", "RGB", {"method": 0}),
        ("AVIF", "RGB", {"speed": 10}),
        ("JPEG2000", "RGB", {}),
        ("TIFF", "I;16", {}),
        ("TIFF", "RGB", {"compression": "jpeg"}),
    ],
)
def test_an_image_takes_no_more_than_was_estimated(format_, mode, options, tmp_path):
    side = 2000
    row = np.tile(np.arange(250, dtype=np.uint8), side // 250)
    grey = Image.fromarray(np.broadcast_to(row, (side, side)).copy())
    image = grey if mode == "L" else grey.convert(mode)
    (tmp_path / "image").write_bytes(encoded(image, format_, **options))
    command = [sys.executable, "-c", TAKEN, tmp_path / "image", format_]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    estimated, taken = map(int, said.split())
    assert taken <= estimated + 2**23  # and what the interpreter needs
    assert estimated <= 40 * side * side
