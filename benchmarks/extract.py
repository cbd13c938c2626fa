"""Images per second of `extract` and of what it is compared to, in one run.

    python benchmarks/extract.py [--images FOLDER ...] [--engines keras,openvino:int8] [--rounds 3]
    python benchmarks/extract.py --smoke

For each folder: the usual Keras loop, one image at a time, and for every engine ours and its model
alone. All take turns on the same images, so that a machine whose speed drifts drifts for all, and
ratios are taken turn by turn. Then the whole command, from its start to its end, on so many images
of the first folder as `--whole` says, and once more with nothing to do.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from common import (
    DATA,
    Way,
    add_backbone,
    add_engines,
    chosen_images,
    copy_images,
    images_folder,
    keep_backbones,
    keras_vgg16,
    parse,
    path_of,
    pixels_of,
    ratios,
    run_once,
    smallest_cosine,
    spread,
    timed,
)
from numpy.typing import NDArray
from PIL import Image

from tlfeatures import extract
from tlfeatures.features.backbones.quantization import Quantization
from tlfeatures.features.calibrate import calibrate, sample_images
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.file.reader import open_embeddings
from tlfeatures.features.images.identify import scan
from tlfeatures.features.plan import make_plan
from tlfeatures.features.run import open_target, with_ranges
from tlfeatures.features.settings import Settings, make_spec
from tlfeatures.features.sources.open_source import open_source
from tlfeatures.features.spec import Spec
from tlfeatures.reports.drawing.figure_files import save_figure
from tlfeatures.reports.drawing.style import COLORS, drawing

BATCH = 32
EMBEDDING = "block5_pool.avg"
USUAL, SINGLE = "usual loop, Keras float32", "one at a time, Keras float32"

OPTIONS = ComputeOptions()

Run = Callable[[list[Path]], float]  # embeds images, and gives the seconds that it took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_backbone(parser)
    add_engines(parser)
    folders = [DATA / "intel", DATA / "hymenoptera"]
    parser.add_argument("--images", type=Path, nargs="+", default=folders)
    parser.add_argument("--count", type=int, default=64, help="images a round, a multiple of 32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--whole", type=int, nargs="*", default=[8, 32, 128, 10**6])
    parser.add_argument("--plot", type=Path, help="where to draw the whole command's images/s")
    arguments = parse(
        parser,
        images=[None],
        weights="random",
        size=32,
        engines=[("openvino", "int8")],
        count=8,
        rounds=1,
        whole=[4],
    )
    keep_backbones()
    for given in arguments.images:
        with tempfile.TemporaryDirectory() as temporary:
            folder = images_folder(given, arguments.count, Path(temporary))
            chosen = chosen_images(folder, arguments.count)
            copied = copy_images(chosen, Path(temporary, "images"))
            paths = [path_of(image) for image in scan(open_source(copied)).images]
            turns = Turns(folder, paths, arguments.size, arguments.weights, Path(temporary))
            turns.measure(arguments.engines, arguments.rounds)
    if arguments.whole:
        points = whole_commands(arguments)
        if arguments.plot:
            draw(points, arguments.size, arguments.plot)


class Turns:
    """Every way to embed the images of one folder, by turns."""

    def __init__(
        self, folder: Path, paths: list[Path], size: int, weights: str, temporary: Path
    ) -> None:
        self._folder, self._paths = folder, paths
        self._size, self._weights = size, weights
        self._temporary = temporary
        self._ranges: Quantization | None = None

    def measure(self, engines: list[Way], rounds: int) -> None:
        """Time every way, round by round, and print the lot."""
        count = len(self._paths)
        model = keras_vgg16(self._size, self._weights)
        predict = functools.partial(model.predict, verbose=0)
        runs: dict[str, Run] = {
            USUAL: lambda paths: timed(lambda: usual_loop(predict, self._size, paths)),
            SINGLE: lambda paths: timed(lambda: one_at_a_time(predict, self._size, paths)),
        }
        for way in engines:
            runs[f"ours, {' '.join(way)}"] = self._ours(way)
            runs[f"model alone, {' '.join(way)}"] = self._model_alone(way)
        for name, run in runs.items():  # compiling is not what is measured
            if not name.startswith("model alone"):  # that one is loaded and compiled by ours
                run(self._paths[: 1 if name == SINGLE else BATCH])
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(rounds):
            load = os.getloadavg()[0]
            for name, run in runs.items():
                seconds[name].append(run(self._paths))
            print(f"turn {number + 1}: load before it {load:.1f}", flush=True)
        cosines = self._cosines(engines)
        report(f"{count} images of {self._folder.name} a turn", self._size, seconds, cosines, count)

    def _settings(self, way: Way) -> Settings:
        engine, precision = way
        return Settings(size=self._size, weights=self._weights, engine=engine, precision=precision)

    def _spec(self, way: Way) -> Spec:
        size = (self._size, self._size)
        spec = make_spec(self._settings(way), "vgg16", size, [EMBEDDING], "auto")
        if spec.precision == "int8":
            spec = replace(spec, quantization=self._quantization(spec))
        return spec

    def _quantization(self, spec: Spec) -> Quantization:
        """Measured once, on the whole folder: `extract` does it once a file, before its start."""
        if self._ranges is None:
            started = time.perf_counter()
            self._ranges = calibrate(spec, sample_images(scan(open_source(self._folder))), OPTIONS)
            taken = time.perf_counter() - started
            print(f"{self._folder.name}: calibrating int8 took {taken:.1f} s")
        return self._ranges

    def _file(self, way: Way) -> Path:
        return self._temporary / f"{'-'.join(way)}.h5"

    def _ours(self, way: Way) -> Run:
        """Everything that the command does once the backbone is loaded, file included."""
        settings, spec = self._settings(way), self._spec(way)

        def run(paths: list[Path]) -> float:
            self._file(way).unlink(missing_ok=True)
            load_backbone(spec, [EMBEDDING])  # reading the weights is not what is measured
            return timed(lambda: self._extract(self._folder_of(paths), settings))

        return run

    def _extract(self, images: Path, settings: Settings) -> None:
        way = settings.engine, settings.precision
        if settings.precision == "int8":  # a file that has its ranges: nothing is calibrated
            plan = make_plan(scan(open_source(images)), self._file(way), settings, OPTIONS.device)
            with open_target(with_ranges(plan, self._ranges), {}):
                pass
        extract(images, self._file(way), **asdict(settings))

    def _folder_of(self, paths: list[Path]) -> Path:
        """The folder of all images, or one of these alone."""
        folder = self._temporary / "images"
        if len(paths) == len(self._paths):
            return folder
        few = self._temporary / "few"
        if not few.exists():
            copy_images(
                [image for image in scan(open_source(folder)).images if path_of(image) in paths],
                few,
            )
        return few

    @functools.cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        """The images, decoded."""
        return pixels_of(self._paths, (self._size, self._size))

    def _model_alone(self, way: Way) -> Run:
        """Our backbone on pixels that are in memory already."""
        backbone = load_backbone(self._spec(way), [EMBEDDING])
        pixels = self._pixels

        def embed(count: int) -> None:
            for start in range(0, count, BATCH):
                backbone.embed(pixels[start : min(start + BATCH, count)])

        return lambda paths: timed(lambda: embed(len(paths)))

    def _cosines(self, engines: list[Way]) -> dict[str, float]:
        """Smallest cosine of each way's rows to those of Keras in float32."""
        backbone = load_backbone(self._spec(("keras", "float32")), [EMBEDDING])
        pixels = self._pixels
        reference = np.concatenate(
            [
                backbone.embed(pixels[start : start + BATCH])[EMBEDDING]
                for start in range(0, len(pixels), BATCH)
            ]
        )
        found = {}
        for way in engines:
            with open_embeddings(self._file(way)) as reader:
                rows = reader.read(EMBEDDING)
            found[f"ours, {' '.join(way)}"] = smallest_cosine(rows, reference)
        return found


def usual_loop(predict: Callable[..., object], size: int, paths: list[Path]) -> None:
    """What a tutorial does: load_img, preprocess_input, predict, batch by batch, in float32."""
    import keras

    for start in range(0, len(paths), BATCH):
        batch = [
            keras.utils.img_to_array(
                keras.utils.load_img(path, target_size=(size, size), interpolation="bilinear")
            )
            for path in paths[start : start + BATCH]
        ]
        predict(keras.applications.vgg16.preprocess_input(np.stack(batch)))


def one_at_a_time(predict: Callable[..., object], size: int, paths: list[Path]) -> None:
    """What img2vec does: open, resize, predict a batch of one, append."""
    import keras

    vectors = []
    for path in paths:
        image = Image.open(path).convert("RGB").resize((size, size))
        pixels = np.expand_dims(np.asarray(image, np.float32), 0)
        vectors.append(predict(keras.applications.vgg16.preprocess_input(pixels.copy())))


def report(
    what: str,
    size: int,
    seconds: dict[str, list[float]],
    cosines: dict[str, float],
    count: int,
) -> None:
    print(f"{what} at {size}x{size}; median (least to most)")
    print(
        f"{'':35s} {'images/s':21s} {'x the usual loop':21s} {'x one at a time':21s} "
        f"{'of its model alone':22s} smallest cosine"
    )
    for name, times in seconds.items():
        cells = [spread([count / t for t in times], 1)]
        cells += [spread(ratios(seconds[base], times), 2) for base in (USUAL, SINGLE)]
        if name.startswith("ours"):
            alone = seconds[name.replace("ours", "model alone")]
            cells += [spread(ratios(alone, times), 3), f"{cosines[name]:.7f}"]
        print(f"{name:35s} " + " ".join(f"{cell:21s}" for cell in cells).rstrip())


# ---- the whole command


def whole_commands(arguments: argparse.Namespace) -> dict[Way, list[tuple[int, float]]]:
    """Time the command from its start to its end; images/s against n, engine by engine."""
    points: dict[Way, list[tuple[int, float]]] = {way: [] for way in arguments.engines}
    print("the whole command, start-up included; again, with nothing to do; peak memory")
    for count in arguments.whole:
        with tempfile.TemporaryDirectory() as temporary:
            source = images_folder(arguments.images[0], count, Path(temporary))
            images = chosen_images(source, count)
            folder = copy_images(images, Path(temporary, "images"))
            for way in arguments.engines:
                command = ["extract", str(folder)]
                command += ["-o", str(Path(temporary, f"{'-'.join(way)}.h5"))]
                command += ["--size", str(arguments.size), "--weights", arguments.weights]
                command += ["--engine", way[0], "--precision", way[1]]
                load = os.getloadavg()[0]
                (taken, peak), (again, _) = run_once(command), run_once(command)
                points[way].append((len(images), len(images) / taken))
                print(
                    f"{' '.join(way):18s} {len(images):5d} images: {taken:6.1f} s, "
                    f"{len(images) / taken:5.1f} images/s; again {again:.2f} s; "
                    f"{peak:.0f} MB; load before it {load:.1f}",
                    flush=True,
                )
    return points


def draw(points: dict[Way, list[tuple[int, float]]], size: int, path: Path) -> None:
    with drawing(None, 6.4, 3.6) as ax:
        for number, (way, pairs) in enumerate(points.items()):
            counts, speeds = zip(*pairs, strict=True)
            color = COLORS[f"c{number}"]
            ax.plot(counts, speeds, "o-", markersize=4, color=color, label=" ".join(way))
        ax.set(xscale="log", xlabel="images", ylabel="images per second", ylim=(0, None))
        ax.set_xticks(counts, [f"{count:,}" for count in counts])
        ax.minorticks_off()
        ax.figure.legend(loc="outside right center")
        ax.set_title(f"The whole command at {size}, start-up included", loc="left")
        save_figure(ax, path)


if __name__ == "__main__":
    main()
