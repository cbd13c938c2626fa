"""Images per second of a model: `predict`, and ONNX Runtime on the exported file, in one run.

    python benchmarks/predict.py [--images FOLDER] [--weights PATH] [--size 224] [--rounds 3]
    python benchmarks/predict.py --smoke

All take turns on the same images, so that a machine whose speed drifts drifts for all. From files:
decoding, resizing, backbone and head. On pixels: the backbone and the head alone.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import (
    DATA,
    add_backbone,
    chosen_images,
    images_folder,
    parse,
    path_of,
    pixels_of,
    timed,
)

from tlfeatures import Model, export, extract, load_dataset, make_head
from tlfeatures.features.engines.choose import Request, choose_engine
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.engines.onnx_session import session
from tlfeatures.models.export.check import run_graph
from tlfeatures.models.input_images import list_images

BATCH = 32


def fitted(images: list[Path], size: int, weights: str, folder: Path) -> Model:
    """Fit a logistic regression on a few images of each class."""
    for path in images:
        copy = folder / "train" / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    extract(folder / "train", folder / "train.h5", size=size, weights=weights, precision="float32")
    return Model.fit(make_head("logreg"), load_dataset(folder / "train.h5"), name="logreg")


def computed_by(model: Model, engine: str, precision: str) -> Model:
    return replace(model, spec=replace(model.spec, engine=engine, precision=precision))


def ours_on_pixels(model: Model, pixels: np.ndarray) -> Callable[[], object]:
    backbone = load_backbone(model.spec, [model.embedding])

    def run() -> None:
        for start in range(0, len(pixels), BATCH):
            batch = pixels[start : start + BATCH]
            model.predict_proba(backbone.embed(batch)[model.embedding])

    return run


def theirs_on_pixels(runtime: object, pixels: np.ndarray) -> Callable[[], object]:
    def run() -> None:
        for start in range(0, len(pixels), BATCH):
            runtime.run(None, {"images": pixels[start : start + BATCH]})

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_backbone(parser)
    parser.add_argument("--images", type=Path, default=DATA / "intel")
    parser.add_argument("--count", type=int, default=128, help="images a round, a multiple of 32")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parse(parser, images=None, weights="random", size=32, count=32, rounds=1)
    weights = arguments.weights
    with tempfile.TemporaryDirectory() as temporary:
        folder = images_folder(arguments.images, arguments.count, Path(temporary))
        paths = [path_of(image) for image in chosen_images(folder, arguments.count)]
        model = fitted(paths[::4], arguments.size, weights, Path(temporary))
        seconds = measure(model, paths, weights, Path(temporary), arguments.rounds)
    report(seconds, len(paths), arguments.size)


def measure(
    model: Model, paths: list[Path], weights: str, folder: Path, rounds: int
) -> dict[str, list[float]]:
    """Seconds of every way, by turns."""
    export(model, folder / "model.onnx", weights=weights)
    runtime = session(folder / "model.onnx")
    size = model.spec.size
    pixels = pixels_of(paths, size)
    runs: dict[str, Callable[[], object]] = {}
    fastest = choose_engine(Request(model.spec, (model.embedding,)))
    for way in dict.fromkeys([("keras", "float32"), fastest]):
        own = computed_by(model, *way)
        runs[f"files: predict, {' '.join(way)}"] = lambda own=own: list(own.predict(paths))
        runs[f"pixels: predict, {' '.join(way)}"] = ours_on_pixels(own, pixels)
    runs["files: ONNX Runtime, float32"] = lambda: run_graph(runtime, list_images(paths), size)
    runs["pixels: ONNX Runtime, float32"] = theirs_on_pixels(runtime, pixels)
    for run in runs.values():  # compiling is not what is measured
        run()
    seconds: dict[str, list[float]] = {name: [] for name in sorted(runs)}
    for _ in range(rounds):
        for name in seconds:
            seconds[name].append(timed(runs[name]))
    return seconds


def report(seconds: dict[str, list[float]], count: int, size: int) -> None:
    print(f"{count} images a round at {size}x{size}; images/s: median (least to most)")
    for name, times in seconds.items():
        own = seconds[f"{name.partition(':')[0]}: predict, keras float32"]
        speeds = sorted(count / t for t in times)
        ratio = statistics.median(b / t for b, t in zip(own, times, strict=True))
        print(
            f"{name:34s} {statistics.median(speeds):6.1f} ({speeds[0]:.1f} to {speeds[-1]:.1f})"
            f"   {ratio:5.2f} x predict by Keras in float32"
        )


if __name__ == "__main__":
    main()
