"""A light network, for which decoding counts: end to end, and where the time goes."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import Way, all_ways, path_of, pixels_of, ratios, spread
from PIL import Image

from backbone_parts.end_to_end import extract_anew
from backbone_parts.network import (
    OPTIONS,
    Network,
    OnnxFileAlone,
    Pixels,
    Run,
    rates,
    take_turns,
)
from tlfeatures.errors import TlfeaturesError
from tlfeatures.features.embed import Embedder, EmbeddingRun
from tlfeatures.features.images.decoding import MAX_PIXELS, decode_content
from tlfeatures.features.images.identify import Manifest, scan
from tlfeatures.features.images.opening import open_image
from tlfeatures.features.images.read_ahead import ImageToRead, read_ahead
from tlfeatures.features.images.reading import Content, open_content
from tlfeatures.features.sources.open_source import open_source

DECODE = "decode alone"


@dataclass(frozen=True)
class LightOptions:
    """What is measured.

    Attributes
    ----------
    folder : Path
        The images of a turn.
    rounds : int
    ways : list of (engine, precision) or None
        All in float32 and bfloat16 if None.
    steps : int
        Number of images of the table of steps.
    temporary : Path
        Folder for embeddings files.
    """

    folder: Path
    rounds: int
    ways: list[Way] | None
    steps: int
    temporary: Path


def light(network: Network, options: LightOptions) -> dict[str, Any]:
    """Measure, print the tables, and give the facts."""
    manifest = scan(open_source(options.folder))
    paths = [path_of(image) for image in manifest.images]
    steps = print_steps(network, paths[:: max(1, len(paths) // options.steps)])
    runs: dict[str, Run] = {DECODE: partial(decode_all, network, manifest)}
    for way in all_ways(network.record):
        if way[1] == "int8" or (options.ways is not None and way not in options.ways):
            continue
        try:
            runs |= runs_of(network, way, manifest, options)
        except TlfeaturesError as error:
            print(f"{network.title} {' '.join(way)} is left out: {error}")
    for run in runs.values():  # compiling is not what is measured
        run()
    seconds = take_turns(runs, options.rounds)
    cpu = {name: processor_seconds(run) for name, run in runs.items()}
    report(network, paths, seconds, cpu)
    facts = {"backbone": network.title, "size": network.size, "images": len(paths)}
    return {**facts, "seconds": seconds, "processor_seconds": cpu, "steps_ms": steps}


def runs_of(
    network: Network, way: Way, manifest: Manifest, options: LightOptions
) -> dict[str, Run]:
    spec = network.spec(way)
    embedder = Embedder(spec, [network.embedding], OPTIONS)
    pixels = pixels_of([path_of(image) for image in manifest.images], network.height_width)
    loaded = embedder.backbone
    name = " ".join(way)
    return {
        f"model alone, {name}": partial(network.rows, loaded, pixels),
        f"decode and embed, {name}": partial(embed_all, embedder, manifest),
        f"extract, {name}": partial(extract_anew, network, way, options.folder, options.temporary),
    }


def images_to_read(manifest: Manifest) -> Iterator[ImageToRead[str]]:
    for image, digest in zip(manifest.images, manifest.digests, strict=True):
        yield ImageToRead(image.id, image.location, digest)


def decode_all(network: Network, manifest: Manifest) -> None:
    decoding = Embedder(network.spec(), [network.embedding], OPTIONS).decoding
    for _ in read_ahead(images_to_read(manifest), decoding):
        pass


def embed_all(embedder: Embedder, manifest: Manifest) -> None:
    run = EmbeddingRun(embedder, images_to_read(manifest), len(manifest.images))
    for _ in run.batches():
        pass


def processor_seconds(run: Run) -> float:
    """Seconds of all cores that a run takes."""
    started = time.process_time()
    run()
    return time.process_time() - started


def report(
    network: Network,
    paths: Sequence[Path],
    seconds: dict[str, list[float]],
    cpu: dict[str, float],
) -> None:
    """Print the speeds; what shares the cores with decoding can't be as fast as either alone."""
    count = len(paths)
    sides = np.median([image_size(path) for path in paths], axis=0)
    print(
        f"{network.title} at {network.size}, {count} images a turn of about {sides[0]:.0f} x "
        f"{sides[1]:.0f}; median (least to most)"
    )
    print(
        f"{'':38s} {'images/s':25s} {'ms of a core':>12s}  {'of the smaller alone':22s} "
        "of both sharing the cores"
    )
    for name, times in seconds.items():
        cells = [f"{spread(rates(times, count), 1):25s} {cpu[name] / count * 1e3:12.2f} "]
        if name.startswith(("decode and embed", "extract")):
            decode, model = seconds[DECODE], seconds[f"model alone, {name.partition(', ')[2]}"]
            slower = [max(pair) for pair in zip(decode, model, strict=True)]
            both = [sum(pair) for pair in zip(decode, model, strict=True)]
            cells.append(f"{spread(ratios(slower, times), 3):22s}")
            cells.append(spread(ratios(both, times), 3))
        print(f"{name:38s} " + " ".join(cells).rstrip(), flush=True)


def image_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


# ---- where the time goes


def print_steps(network: Network, paths: Sequence[Path]) -> dict[str, float]:
    """Print the steps of an image in one thread, in ms of a core."""
    steps = decoding_steps(paths, network.height_width)
    steps |= forward_steps(network, pixels_of(paths, network.height_width))
    total = sum(steps.values())
    print(f"{network.title}, steps of an image in one thread, mean of {len(paths)} images")
    for name, milliseconds in steps.items():
        print(f"  {name:34s} {milliseconds:8.3f} ms {100 * milliseconds / total:5.1f} %")
    print(f"  {'together':34s} {total:8.3f} ms", flush=True)
    return steps


def decoding_steps(paths: Sequence[Path], size: tuple[int, int]) -> dict[str, float]:
    """Time the steps of reading and decoding; those of `decode_content` add up to it."""
    contents = [path.read_bytes() for path in paths]
    images = [loaded_image(data) for data in contents]

    def read(number: int) -> None:
        with open_content(paths[number]):
            pass

    def open_header(number: int) -> None:
        with open_image(Content(contents[number]), MAX_PIXELS):
            pass

    read_ms = per_image(read, len(paths))
    hash_ms = per_image(lambda number: Content(contents[number]).sha256(), len(paths))
    header_ms = per_image(open_header, len(paths))
    pillow_ms = per_image(lambda number: open_with_pillow(contents[number]), len(paths))
    load_ms = per_image(lambda number: loaded_image(contents[number]), len(paths)) - pillow_ms
    resize_ms = per_image(
        lambda number: images[number].resize(size[::-1], Image.Resampling.BILINEAR), len(paths)
    )
    whole_ms = per_image(lambda number: decode_content(Content(contents[number]), size), len(paths))
    return {
        "read the file": read_ms,
        "hash it": hash_ms,
        "open and check it": header_ms,
        "decode the JPEG": load_ms,
        "resize it": resize_ms,
        "rest of decoding": max(0.0, whole_ms - header_ms - load_ms - resize_ms),
    }


def forward_steps(network: Network, pixels: Pixels) -> dict[str, float]:
    """Time the forward pass by ONNX Runtime, without and with the preprocessing in its graph."""
    framework = network.reference()
    way = all_ways(network.record)[0]
    if isinstance(framework, OnnxFileAlone):
        way = ("onnxruntime", "float32")
    loaded = network.load(network.spec(way), threads=1)
    ours = partial(network.rows, loaded)
    ours(pixels[:1])
    whole_ms = per_image(lambda number: ours(pixels[number : number + 1]), len(pixels))
    if not isinstance(framework, OnnxFileAlone):
        return {f"forward pass, {' '.join(way)}": whole_ms}
    prepared = framework.prepared(pixels)
    forward_ms = per_image(lambda number: framework.run(prepared[number]), len(pixels))
    return {
        "preprocessing in the graph": max(0.0, whole_ms - forward_ms),
        f"forward pass, {' '.join(way)}": forward_ms,
    }


def open_with_pillow(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def loaded_image(data: bytes) -> Image.Image:
    image = open_with_pillow(data)
    image.load()
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def per_image(step: Callable[[int], object], count: int, repeats: int = 3) -> float:
    """Milliseconds of a core for a step of one image: the mean over images, the best of repeats."""
    means = []
    for _ in range(repeats):
        started = time.process_time()
        for number in range(count):
            step(number)
        means.append((time.process_time() - started) / count * 1e3)
    return min(means)
