"""Images per second of `extract`, of the usual loop, and of the model alone, in one run.

    python benchmarks/extract.py --images FOLDER [--weights PATH] [--size 224] [--rounds 3]

The three take turns on the same images, so that a machine whose speed drifts drifts for all. The
last line is the whole command, from its start to its end, on every image of the folder.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import chosen_images, parse, timed

from tlfeatures import extract
from tlfeatures.features.backbone import auto_precision, load_backbone
from tlfeatures.features.images import decode, scan
from tlfeatures.features.plan import Settings, make_spec
from tlfeatures.features.weights import load_weights

BATCH = 32


def usual_loop(paths: list[Path], size: int, weights: str) -> Callable[[], None]:
    """What a tutorial does: load_img, preprocess_input, predict, batch by batch, in float32."""
    import keras

    model = keras.applications.VGG16(
        weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3)
    )
    for layer, (kernel, bias) in load_weights(weights).tensors.items():
        model.get_layer(layer).set_weights([kernel, bias])

    def run() -> None:
        for start in range(0, len(paths), BATCH):
            batch = [
                keras.utils.img_to_array(
                    keras.utils.load_img(path, target_size=(size, size), interpolation="bilinear")
                )
                for path in paths[start : start + BATCH]
            ]
            pixels = keras.applications.vgg16.preprocess_input(np.stack(batch))
            model.predict(pixels, verbose=0)

    return run


def ours(folder: Path, size: int, weights: str) -> Callable[[], None]:
    """Everything that the command does once the backbone is loaded, file included."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as out:
            extract(folder, Path(out, "x.h5"), size=size, weights=weights)

    return run


def model_alone(paths: list[Path], size: int, weights: str, precision: str) -> Callable[[], None]:
    """Our backbone on pixels that are in memory already."""
    settings = Settings(weights=weights, precision=precision)
    spec = make_spec(settings, "vgg16", (size, size), ["block5_pool.avg"], "auto")
    backbone = load_backbone(spec, ["block5_pool.avg"])
    pixels = np.stack([decode(path.read_bytes(), (size, size)) for path in paths])

    def run() -> None:
        for start in range(0, len(pixels), BATCH):
            backbone.embed(pixels[start : start + BATCH])

    return run


def main() -> None:
    arguments = parse(__doc__.splitlines()[0])
    size, weights = arguments.size, arguments.weights
    precision = auto_precision("vgg16", "auto")

    with tempfile.TemporaryDirectory() as temporary:
        chosen = chosen_images(arguments, Path(temporary))
        folder = Path(temporary, "images")
        for image in chosen:
            copy = folder / image.id
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(image.path.read_bytes())
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        runs = {
            "usual loop, float32": usual_loop(paths, size, weights),
            f"ours, {precision}": ours(folder, size, weights),
            f"model alone, {precision}": model_alone(paths, size, weights, precision),
        }
        for run in runs.values():  # compiling is not what is measured
            run()
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(arguments.rounds):
            for name, run in runs.items():
                seconds[name].append(timed(run))
        report(seconds, len(paths), size)
        whole_command(arguments.images, size, weights, Path(temporary))


def report(seconds: dict[str, list[float]], count: int, size: int) -> None:
    print(f"{count} images a round at {size}x{size}; images/s: median (least to most)")
    loop = next(iter(seconds.values()))
    for name, times in seconds.items():
        speeds = sorted(count / t for t in times)
        ratio = statistics.median(b / t for b, t in zip(loop, times, strict=True))
        print(
            f"{name:26s} {statistics.median(speeds):6.1f} ({speeds[0]:.1f} to {speeds[-1]:.1f})"
            f"   {ratio:5.2f} x the usual loop"
        )
    own, alone = list(seconds.values())[1:]
    shares = [b / a for a, b in zip(own, alone, strict=True)]
    print(f"ours reaches {statistics.median(shares):.3f} of the model alone")


def whole_command(source: Path, size: int, weights: str, temporary: Path) -> None:
    count = len(scan(source).images)
    command = [sys.executable, "-m", "tlfeatures", "extract", str(source)]
    command += ["-o", str(temporary / "whole.h5"), "--size", str(size), "--weights", weights]
    for name in ("the whole command", "the command again"):
        taken = timed(lambda: subprocess.run(command, check=True, capture_output=True))
        print(f"{name}: {count} images in {taken:.1f} s, {count / taken:.1f} images/s")


if __name__ == "__main__":
    main()
