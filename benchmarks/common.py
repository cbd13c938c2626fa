"""What the benchmarks share: options, `--smoke`, images, processes, a clock."""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tlfeatures.features.engines.choose import ENGINES, choose_engine
from tlfeatures.features.images.identify import scan
from tlfeatures.features.sources.folders import ImageFile

DATA = Path(__file__).parents[2] / "shared" / "data"
WEIGHTS = DATA / "vgg16" / "vgg16_imagenet_notop.h5"
CROPS, CROP_SIDE = 300, 150  # at most so many, of so many pixels a side

Way = tuple[str, str]  # an engine and a precision

# ---- options


def add_backbone(parser: argparse.ArgumentParser) -> None:
    """Add the options of VGG16."""
    weights = str(WEIGHTS) if WEIGHTS.is_file() else "imagenet"
    parser.add_argument("--weights", default=weights)
    parser.add_argument("--size", type=int, default=224)


def add_engines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engines",
        type=lambda text: [way(each) for each in text.split(",")],
        default=all_ways(),
        help="ENGINE:PRECISION,...; all that is installed if not given",
    )


def parse(parser: argparse.ArgumentParser, **smoke: Any) -> argparse.Namespace:
    """Read the command line, and add `--smoke`: these values replace the options' defaults."""
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="a run of some seconds on few small images: it shows that the script works",
    )
    if parser.parse_known_args()[0].smoke:
        parser.set_defaults(**smoke)
    return parser.parse_args()


def way(text: str) -> Way:
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


# ---- images


def images_folder(folder: Path | None, count: int, temporary: Path) -> Path:
    """Give the folder; if it isn't there, one of crops of scikit-learn's photographs."""
    if folder is not None and folder.is_dir():
        return folder
    if folder is not None:
        print(f"no {folder}: measuring on crops of scikit-learn's photographs instead")
    crops = temporary / "crops"
    write_crops(crops, min(count, CROPS))
    return crops


def chosen_images(folder: Path, count: int) -> list[ImageFile]:
    """Choose as many images as are asked for, evenly."""
    images = scan(folder).images
    return images[:: max(1, len(images) // count)][:count]


def copy_images(images: list[ImageFile], folder: Path) -> Path:
    for image in images:
        copy = folder / image.id
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(image.path.read_bytes())
    return folder


def write_crops(folder: Path, count: int) -> None:
    """Cut JPEGs at random places out of scikit-learn's two photographs, a class each."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images()
    generator = np.random.default_rng(0)
    for number in range(count):
        photograph = photographs.images[number % 2]
        label = Path(photographs.filenames[number % 2]).stem
        limits = np.array(photograph.shape[:2]) - CROP_SIDE + 1
        top, left = generator.integers(0, limits).tolist()
        crop = photograph[top : top + CROP_SIDE, left : left + CROP_SIDE]
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(crop).save(folder / label / f"{number:04d}.jpg", quality=90)


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


# ---- processes and a clock


def output_of(command: list[str]) -> str:
    """Run a process to its end, and give what it printed; if it fails, say what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def timed(run: Callable[[], object]) -> float:
    """Seconds that a run takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
