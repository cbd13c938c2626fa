"""What the benchmarks of images share: their options, their images, a clock."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from tlfeatures.demo import write_digits
from tlfeatures.features.images import ImageFile, scan


def parse(description: str) -> argparse.Namespace:
    """Read the options; weights that aren't there are those of ImageNet."""
    parser = argparse.ArgumentParser(description=description)
    data = Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument("--images", type=Path, default=data / "intel")
    parser.add_argument("--weights", default=str(data / "vgg16" / "vgg16_imagenet_notop.h5"))
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--count", type=int, default=128, help="images a round, a multiple of 32")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if not Path(arguments.weights).is_file():
        arguments.weights = "imagenet"
    return arguments


def chosen_images(arguments: argparse.Namespace, temporary: Path) -> list[ImageFile]:
    """Choose as many images as are asked for, evenly; of the digits if there is no folder."""
    if not arguments.images.is_dir():
        print(f"no {arguments.images}: measuring on scikit-learn's digits instead")
        arguments.images = temporary / "digits"
        write_digits(arguments.images)
    images = scan(arguments.images).images
    return images[:: max(1, len(images) // arguments.count)][: arguments.count]


def timed(run: Callable[[], object]) -> float:
    """Seconds that a run takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
