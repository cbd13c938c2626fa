"""What the benchmarks of images share: their options, their images, a clock."""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tlfeatures.demo import write_digits
from tlfeatures.features.engines import ENGINES, choose_engine
from tlfeatures.features.images import ImageFile, scan

DATA = Path(__file__).parents[2] / "shared" / "data"
WEIGHTS = DATA / "vgg16" / "vgg16_imagenet_notop.h5"

Way = tuple[str, str]  # an engine and a precision


def options(description: str) -> argparse.ArgumentParser:
    """Make the options that all benchmarks of images have."""
    parser = argparse.ArgumentParser(description=description)
    weights = str(WEIGHTS) if WEIGHTS.is_file() else "imagenet"
    parser.add_argument("--weights", default=weights)
    parser.add_argument("--size", type=int, default=224)
    return parser


def add_engines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engines",
        type=lambda text: [ways(each) for each in text.split(",")],
        default=all_ways(),
        help="ENGINE:PRECISION,...; all that is installed if not given",
    )


def ways(text: str) -> Way:
    engine, _, precision = text.partition(":")
    return engine, precision or "float32"


def all_ways() -> list[Way]:
    """Every engine that is installed, in every precision that the hardware has."""
    found: dict[Way, None] = {}
    for name, engine in ENGINES.items():
        if engine.installed:
            found[name, "float32"] = None
            found[choose_engine(name, None, "auto", (224, 224))] = None
            if "int8" in engine.precisions:
                found[name, "int8"] = None
    return list(found)


def chosen_images(folder: Path, count: int, temporary: Path) -> list[ImageFile]:
    """Choose as many images as are asked for, evenly; of the digits if there is no folder."""
    if not folder.is_dir():
        print(f"no {folder}: measuring on scikit-learn's digits instead")
        folder = temporary / "digits"
        write_digits(folder)
    images = scan(folder).images
    return images[:: max(1, len(images) // count)][:count]


def copy_images(images: list[ImageFile], folder: Path) -> Path:
    for image in images:
        copy = folder / image.id
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(image.path.read_bytes())
    return folder


def write_noise(folder: Path, count: int, side: int, quality: int = 75) -> int:
    """Write JPEGs of noise, no two of the same bytes, quickly; their mean size is given back.

    There are 16 pictures; what tells two files of one apart stands behind the end of the picture,
    where decoders have stopped.
    """
    generator = np.random.default_rng(0)
    pictures = []
    for _ in range(16):
        file = io.BytesIO()
        noise = generator.integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(noise).save(file, "JPEG", quality=quality)
        pictures.append(file.getvalue())
    for label in "ab":
        (folder / label).mkdir(parents=True)
    for number in range(count):
        path = folder / "ab"[number % 2] / f"image{number:06d}.jpg"
        path.write_bytes(pictures[number % 16] + number.to_bytes(8, "big"))
    return sum(map(len, pictures)) // 16


def timed(run: Callable[[], object]) -> float:
    """Seconds that a run takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
