"""Which versions of a photograph count as near-duplicates, at several limits of one backbone.

    python benchmarks/near_duplicates.py FOLDER [--backbone NAME] [--count 30] [--smoke]

Some images are written again in 13 ways, and embedded together with the folder. Of each limit, it
prints the percentage of the versions of each way that are found, and the pairs among the folder's
own images; look at these, as some may be the same photograph. `--pairs FILE.csv` writes them, the
most similar first.
"""

from __future__ import annotations

import argparse
import csv
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import images_folder, parse, path_of
from PIL import Image, ImageEnhance, ImageOps

from tlfeatures import Extractor
from tlfeatures.dataset.duplicates import find_near_duplicates, pair_similarities
from tlfeatures.features.images.identify import scan
from tlfeatures.features.sources.open_source import open_source

LIMITS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
Change = Callable[[Image.Image], Image.Image]


def resized(share: float) -> Change:
    return lambda image: image.resize(
        (round(share * image.width), round(share * image.height)), Image.Resampling.BICUBIC
    )


def cropped(share: float, *, at: float = 0.5) -> Change:
    """Keep a share of both sides; `at` is 0 for the upper left corner and 0.5 for the middle."""

    def crop(image: Image.Image) -> Image.Image:
        width, height = round(share * image.width), round(share * image.height)
        left, top = round(at * (image.width - width)), round(at * (image.height - height))
        return image.crop((left, top, left + width, top + height))

    return crop


def same(image: Image.Image) -> Image.Image:
    return image


def turned(image: Image.Image) -> Image.Image:
    """Turn by 3 degrees, and cut off the black corners."""
    return cropped(0.93)(image.rotate(3, Image.Resampling.BICUBIC))


# Way -> what is done to the image, and the quality of the JPEG
WAYS: dict[str, tuple[Change, int]] = {
    "JPEG, quality 50": (same, 50),
    "JPEG, quality 20": (same, 20),
    "resized to 120 %": (resized(1.2), 90),
    "resized to 80 %": (resized(0.8), 90),
    "resized to 50 %": (resized(0.5), 90),
    "middle 95 %": (cropped(0.95), 90),
    "corner of 95 %": (cropped(0.95, at=0), 90),
    "middle 90 %": (cropped(0.9), 90),
    "middle 80 %": (cropped(0.8), 90),
    "brightness 1.15": (lambda image: ImageEnhance.Brightness(image).enhance(1.15), 90),
    "turned by 3°": (turned, 90),
    "mirrored": (ImageOps.mirror, 90),
    "grey": (ImageOps.grayscale, 90),
}


def version(path: Path, way: str) -> np.ndarray:
    change, quality = WAYS[way]
    content = io.BytesIO()
    with Image.open(path) as image:
        change(image.convert("RGB")).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content).convert("RGB"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--backbone", default="vgg16")
    parser.add_argument("--layer")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--pairs", type=Path)
    arguments = parse(parser, count=2, size=32, weights="random")
    with tempfile.TemporaryDirectory() as temporary:
        folder = images_folder(arguments.folder, 40, Path(temporary))
        compare(scan(open_source(folder)).images, arguments)


def compare(images: list, arguments: argparse.Namespace) -> None:
    options = {"layers": arguments.layer, "size": arguments.size, "weights": arguments.weights}
    extractor = Extractor(arguments.backbone, **options)
    own = extractor.transform([path_of(image) for image in images])
    chosen = np.linspace(0, len(images) - 1, arguments.count).astype(int)
    found = {}
    for way in WAYS:
        rows = extractor.transform([version(path_of(images[row]), way) for row in chosen])
        pairs = np.stack([chosen, len(own) + np.arange(len(chosen))], axis=1)
        found[way] = pair_similarities(np.concatenate([own, rows]), pairs)
    near, similarity = find_near_duplicates(own, min(LIMITS))
    print(f"{arguments.backbone} at {arguments.size}, {len(images):,} images of {arguments.folder}")
    print(f"{'limit':18}", *(f"{limit:5}" for limit in LIMITS))
    for way, values in found.items():
        print(f"{way:18}", *(f"{100 * (values >= limit).mean():5.0f}" for limit in LIMITS))
    print(f"{'own pairs':18}", *(f"{(similarity >= limit).sum():5}" for limit in LIMITS))
    if arguments.pairs:
        with arguments.pairs.open("w", newline="") as file:
            rows = zip(near, similarity, strict=True)
            csv.writer(file).writerows((images[i].id, images[j].id, s) for (i, j), s in rows)


if __name__ == "__main__":
    main()
