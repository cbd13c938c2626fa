"""What a JPEG decoder's own downscaling would save, and what it does to an embedding.

    python benchmarks/draft.py [--images FOLDER] [--count 128]

A JPEG decoder can give a picture at a half, a quarter or an eighth of its sides at less work
(Pillow's `draft`). `extract` doesn't use it. Here are decoded images a second both ways, and
cosines of embeddings between the two.
"""

from __future__ import annotations

import io
import os
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import DATA, options, timed
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tlfeatures.features.backbone import load_backbone
from tlfeatures.features.images import decode, find_images, to_pixels
from tlfeatures.features.plan import Settings, make_spec

EMBEDDING = "block5_pool.avg"
ROUNDS = 3

Decode = Callable[[bytes, tuple[int, int]], NDArray[np.uint8]]


def main() -> None:
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, default=DATA / "hymenoptera")
    parser.add_argument("--count", type=int, default=128)
    arguments = parser.parse_args()
    images = find_images(arguments.images)
    images = images[:: max(1, len(images) // arguments.count)][: arguments.count]
    files = [image.path.read_bytes() for image in images]
    compare("as they are", files, 150, arguments.weights)
    enlarged = [larger(data) for data in files]
    compare("enlarged to 2000 x 1500, quality 95", enlarged, 224, arguments.weights)


def with_draft(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode as `decode` does, but at the smallest scale that is no smaller than `size`."""
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", size[::-1])
        return to_pixels(ImageOps.exif_transpose(image), size)


def larger(data: bytes) -> bytes:
    file = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        enlarged = image.convert("RGB").resize((2000, 1500), Image.Resampling.LANCZOS)
        enlarged.save(file, "JPEG", quality=95)
    return file.getvalue()


def compare(what: str, files: list[bytes], side: int, weights: str) -> None:
    size = (side, side)
    ways: dict[str, Decode] = {"full decode": decode, "draft": with_draft}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    load = os.getloadavg()[0]
    for _ in range(ROUNDS):
        for name, way in ways.items():
            seconds[name].append(timed(lambda way=way: [way(data, size) for data in files]))
    spec = make_spec(
        Settings(weights=weights, precision="float32"), "vgg16", size, [EMBEDDING], "auto"
    )
    backbone = load_backbone(spec, [EMBEDDING])
    full, drafted = (
        backbone.embed(np.stack([way(data, size) for data in files]))[EMBEDDING].astype(float)
        for way in ways.values()
    )
    norms = np.linalg.norm(full, axis=1) * np.linalg.norm(drafted, axis=1)
    cosines = (full * drafted).sum(axis=1) / norms
    print(f"{len(files)} images, {what}, at {side}x{side} (load {load:.1f}), one thread:")
    for name, times in seconds.items():
        print(f"  {name}: {len(files) / statistics.median(times):.0f} images/s")
    print(
        f"  cosine: smallest {cosines.min():.5f}, mean {cosines.mean():.5f}, "
        f"{(cosines < 0.999).sum()} below 0.999",
        flush=True,
    )


if __name__ == "__main__":
    main()
