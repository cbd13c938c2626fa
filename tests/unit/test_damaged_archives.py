"""Archives and Parquet files with damaged bytes: one line or failed images, and never a hang."""

import io
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tlfeatures.errors import TlfeaturesError
from tlfeatures.features.images.identify import scan
from tlfeatures.features.sources.open_source import open_source

IMAGES = 6


def image(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def zip_bytes(compression):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for number in range(IMAGES):
            archive.writestr(f"{'ab'[number % 2]}/{number}.png", image(number))
    return buffer.getvalue()


def tar_bytes(format_):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as archive:
        for number in range(IMAGES):
            name = "é" * 60 * (number == 2) + str(number)
            for ending, data in (("png", image(number)), ("cls", b"1"), ("json", b'{"label": 3}')):
                member = tarfile.TarInfo(f"{'ab'[number % 2]}/{name}.{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def parquet_bytes():
    import pyarrow
    from pyarrow.parquet import write_table

    images = [{"bytes": image(number), "path": f"{number}.png"} for number in range(IMAGES)]
    buffer = io.BytesIO()
    table = pyarrow.table({"image": images, "label": [0, 1] * (IMAGES // 2)})
    write_table(table, buffer, row_group_size=2)
    return buffer.getvalue()


FILES = {
    "stored.zip": lambda: zip_bytes(zipfile.ZIP_STORED),
    "deflated.zip": lambda: zip_bytes(zipfile.ZIP_DEFLATED),
    "gnu.tar": lambda: tar_bytes(tarfile.GNU_FORMAT),
    "pax.tar": lambda: tar_bytes(tarfile.PAX_FORMAT),
    "images.parquet": parquet_bytes,
}


@pytest.fixture(scope="module", params=FILES)
def whole(request, tmp_path_factory):
    """The path of an undamaged file."""
    path = tmp_path_factory.mktemp("whole") / request.param
    path.write_bytes(FILES[request.param]())
    return path


def with_header_checksum(data, block):
    """Correct the checksum of a header in a tar, so that its damage is read."""
    header = bytearray(data[block : block + 512])
    header[148:156] = b" " * 8
    data[block + 148 : block + 156] = b"%06o\0 " % sum(header)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    place=st.floats(0, 1, exclude_max=True),
    damage=st.binary(min_size=1, max_size=12),
    kind=st.sampled_from(["overwrite", "at the end", "flip", "cut", "insert"]),
)
def test_damaged_bytes_are_one_line_or_failed_images(whole, place, damage, kind):
    good = whole.read_bytes()
    data, path = bytearray(good), whole.with_name(f"damaged-{whole.name}")
    at = int(place * len(data))
    if kind == "at the end":  # where zip and Parquet files have their lists
        at = len(data) - 1 - int(place * min(len(data), 600))
    if kind == "cut":
        del data[at:]
    elif kind == "insert":
        data[at:at] = damage
    elif kind == "flip":
        data[at] ^= 1 << damage[0] % 8
    else:
        data[at : at + len(damage)] = damage
    if path.suffix == ".tar" and len(data) == len(good):
        with_header_checksum(data, at // 512 * 512)
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    records = []
    messages = [said(lambda: records.extend(listed(path)))]
    messages += [said(record.location.read) for record in records]
    assert not any("\n" in message for message in messages)


def listed(path):
    """Identify the images of a source and read its labels; return its records."""
    source = open_source(path)
    manifest = scan(source)
    source.labels()
    return manifest.images


def said(call):
    """Return the message of an error that this package raises on purpose; "" for none."""
    try:
        call()
    except TlfeaturesError as error:
        return str(error)
    return ""
