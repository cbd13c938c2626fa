"""How fast images are identified and decoded from each kind of source, against a folder.

    python benchmarks/sources.py [FOLDER] [--count 400] [--rounds 5] [--smoke]

The same images are put into archives and a Parquet file. In each round, every source has one turn:
its images are found, hashed, and decoded to 224 x 224 pixels.
"""

from __future__ import annotations

import argparse
import statistics
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import DATA, chosen_images, copy_images, images_folder, parse

from tlfeatures.features.images.identify import scan
from tlfeatures.features.images.read_ahead import Decoding, ImageToRead, read_ahead
from tlfeatures.features.sources.open_source import open_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=DATA / "hymenoptera")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parse(parser, folder=None, count=16, rounds=2)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        whole = images_folder(arguments.folder, arguments.count, place)
        folder = copy_images(chosen_images(whole, arguments.count), place / "photos")
        compare(written(folder, place), arguments.rounds)


def written(folder: Path, place: Path) -> dict[str, Path]:
    """Put the images of a folder into each kind of source."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in paths]
    sources = {"folder": folder}
    for kind, method in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        sources[f"zip, {kind}"] = place / f"{kind}.zip"
        with zipfile.ZipFile(sources[f"zip, {kind}"], "w", method) as archive:
            for path, name in zip(paths, names, strict=True):
                archive.write(path, name)
    sources["tar"] = place / "photos.tar"
    with tarfile.open(sources["tar"], "w") as tar:
        for path, name in zip(paths, names, strict=True):
            tar.add(path, name)
    sources["Parquet"] = place / "photos.parquet"
    images = [
        {"bytes": path.read_bytes(), "path": name} for path, name in zip(paths, names, strict=True)
    ]
    pq.write_table(pa.table({"image": images}), sources["Parquet"], row_group_size=100)
    return sources


def compare(sources: dict[str, Path], rounds: int) -> None:
    speeds: dict[str, list[float]] = {name: [] for name in sources}
    pixels = {name: pixels_of(source) for name, source in sources.items()}  # a turn to warm up
    for name, own in pixels.items():
        if not np.array_equal(own, pixels["folder"]):
            raise SystemExit(f"{name} gives other pixels than the folder")
    count = len(pixels["folder"])
    print(f"{count} images a turn, {rounds} rounds; median (least to most)")
    for _ in range(rounds):
        for name, source in sources.items():
            started = time.perf_counter()
            pixels_of(source)
            speeds[name].append(count / (time.perf_counter() - started))
    print(f"{'source':14} {'images/s':>20} {'x folder':>20}")
    for name, own in speeds.items():
        ratios = [one / base for one, base in zip(own, speeds["folder"], strict=True)]
        print(f"{name:14} {summary(own, 0):>20} {summary(ratios, 2):>20}")


def pixels_of(source: Path) -> np.ndarray:
    """Find, hash and decode all images of a source: shape (n, 224, 224, 3)."""
    manifest = scan(open_source(source))
    pairs = zip(manifest.images, manifest.digests, strict=True)
    images = (ImageToRead.of(image.id, image, digest) for image, digest in pairs)
    return np.stack([decoded.pixels for _, decoded in read_ahead(images, Decoding((224, 224)))])


def summary(values: list[float], digits: int) -> str:
    least, most = min(values), max(values)
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


if __name__ == "__main__":
    main()
