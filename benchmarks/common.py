"""What the benchmarks share: options, `--smoke`, backbones, images, processes, a clock."""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlfeatures.features.backbones.record import Backbone
from tlfeatures.features.backbones.tensors import Weights
from tlfeatures.features.backbones.vgg16 import VGG16
from tlfeatures.features.backbones.weights import load_weights
from tlfeatures.features.engines.choose import ENGINES, HARDWARE
from tlfeatures.features.engines.engine import Load, LoadedBackbone
from tlfeatures.features.images.decoding import decode_content
from tlfeatures.features.images.identify import scan
from tlfeatures.features.images.reading import Content
from tlfeatures.features.row_cosines import row_cosines
from tlfeatures.features.sources.open_source import open_source
from tlfeatures.features.sources.records import ImageRecord
from tlfeatures.features.spec import Spec

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


def all_ways(backbone: Backbone = VGG16) -> list[Way]:
    """Every installed engine that can load a backbone, in every precision of this machine."""
    return [
        (name, precision)
        for name, engine in ENGINES.items()
        if engine.installed and engine.loads(backbone)
        for precision in engine.precisions
        if precision != "bfloat16" or HARDWARE.cpu_bfloat16()
    ]


# ---- backbones


def keep_backbones() -> None:
    """Let every engine keep the backbones that it loads, so that no turn loads one."""
    for name, engine in ENGINES.items():
        ENGINES[name] = replace(engine, load=loaded_once(engine.load))


def loaded_once(load: Load) -> Load:
    kept: dict[object, LoadedBackbone] = {}

    def load_once(
        spec: Spec, names: Sequence[str], device: str, weights: Weights, threads: int | None
    ) -> LoadedBackbone:
        key = (spec, tuple(names), device, weights.sha256, threads)
        if key not in kept:
            kept[key] = load(spec, names, device, weights, threads)
        return kept[key]

    return load_once


def keras_vgg16(size: int, weights: str) -> Any:
    """Build VGG16 of keras.applications, whose output is the average of block5_pool."""
    import keras

    model = keras.applications.VGG16(
        weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3)
    )
    for layer, (kernel, bias) in load_weights(VGG16, weights).tensors.items():
        model.get_layer(layer).set_weights([kernel, bias])
    return model


def write_tiny_network(path: Path, size: int) -> None:
    """Write an ONNX network of two convolutions with random weights, and its declaration."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(0)
    kernels = [
        numpy_helper.from_array(generator.normal(size=shape).astype(np.float32), name)
        for name, shape in {"first": (8, 3, 3, 3), "second": (64, 8, 3, 3)}.items()
    ]
    halved = {"strides": [2, 2], "pads": [1] * 4}
    nodes = [
        helper.make_node("Conv", ["images", "first"], ["edges"], **halved),
        helper.make_node("Relu", ["edges"], ["positive"]),
        helper.make_node("Conv", ["positive", "second"], ["map"], **halved),
        helper.make_node("Relu", ["map"], ["deep"]),
        helper.make_node("GlobalAveragePool", ["deep"], ["means"]),
        helper.make_node("Flatten", ["means"], ["features"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ("n", 3, size, size))
    outputs = [onnx.ValueInfoProto(name="features")]
    graph = helper.make_graph(nodes, "tiny", [images], outputs, kernels)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    declaration = {
        **{"format": "tlfeatures backbone", "version": 1, "name": path.stem, "file": path.name},
        **{"colour": "RGB", "mean": [127, 127, 127], "std": [128, 128, 128]},
    }
    path.with_suffix(".json").write_text(json.dumps(declaration))


def smallest_cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(row_cosines(a, b).min())


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


def chosen_images(folder: Path, count: int) -> list[ImageRecord]:
    """Choose as many images as are asked for, evenly."""
    images = scan(open_source(folder)).images
    return images[:: max(1, len(images) // count)][:count]


def path_of(image: ImageRecord) -> Path:
    """Return the path of an image in a folder."""
    return Path(image.place_path, image.name)


def copy_images(images: list[ImageRecord], folder: Path) -> Path:
    for image in images:
        copy = folder / image.id
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path_of(image).read_bytes())
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


def pixels_of(paths: Sequence[Path], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode images to an array of shape (n, height, width, 3)."""
    return np.stack([decode_content(Content(path.read_bytes()), size).pixels for path in paths])


# ---- processes and a clock

# The command, which says at its end what was resident at most; what the system counts for a child
# is at least what its parent had at the fork.
COMMAND = """
import sys
from pathlib import Path
from tlfeatures.cli import main

main(sys.argv[1:], standalone_mode=False)
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


def run_once(
    options: list[str], environment: Mapping[str, str] | None = None
) -> tuple[float, float]:
    """Run the command: seconds of the process, and its peak of resident memory in MB."""
    started = time.perf_counter()
    printed = output_of([sys.executable, "-c", COMMAND, *options], environment)
    return time.perf_counter() - started, int(printed.split()[-1]) / 1000


def output_of(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    """Run a process to its end, and give what it printed; if it fails, say what it said.

    `environment` is added to that of this process.
    """
    environ = {**os.environ, **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    if done.returncode:
        sys.exit(f"{command} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def timed(run: Callable[[], object]) -> float:
    """Seconds that a run takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def ratios(base: Sequence[float], times: Sequence[float]) -> list[float]:
    """So many times as fast as the base, turn by turn."""
    return [b / t for b, t in zip(base, times, strict=True)]


def spread(values: Sequence[float], digits: int) -> str:
    """Write the median with the least and the greatest value."""
    least, most = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"
