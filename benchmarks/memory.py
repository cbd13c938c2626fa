"""Resident memory of `extract` against the number of images, each run in a process of its own.

    python benchmarks/memory.py [--counts 1000 10000 50000] [--engines ...] [--plot PATH]
    python benchmarks/memory.py --images FOLDER --size 224
    python benchmarks/memory.py --smoke

Without a folder, on generated JPEGs of 40x40: by the pixel backbone, beside which whatever grows
with n shows most, and by VGG16 at 32. Resident memory is what the kernel says of the process after
every batch, and at its peak.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import add_backbone, add_engines, output_of, parse, write_noise

from tlfeatures import extract
from tlfeatures.reports.drawing.figure_files import save_figure
from tlfeatures.reports.drawing.style import COLORS, drawing

Points = dict[str, list[tuple[int, float]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_backbone(parser)
    add_engines(parser)
    parser.add_argument("--images", type=Path, help="a folder, instead of generated images")
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000, 50_000])
    parser.add_argument("--without-pixels", action="store_true")
    parser.add_argument("--plot", type=Path, help="where to draw resident memory against n")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parse(parser, weights="random", counts=[8, 16], engines=[("openvino", "float32")])
    if arguments.child:
        child(arguments.images, json.loads(arguments.child))
        return
    side = arguments.size if arguments.images else 32
    runs: dict[str, dict[str, Any]] = {
        f"VGG16 at {side}, {engine} {precision}": {
            "engine": engine,
            "precision": precision,
            "size": side,
            "weights": arguments.weights,
        }
        for engine, precision in arguments.engines
    }
    if not arguments.images and not arguments.without_pixels:
        runs = {"pixels at 32": {"backbone": "pixels", "size": 32}, **runs}
    print(f"{'':31s} {'images':>7s} {'peak MB':>8s} {'steady MB':>9s} {'x the first':>11s} seconds")
    points: Points = {name: [] for name in runs}
    if arguments.images:
        measure(arguments.images, runs, points)
        return
    for count in arguments.counts:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, "images")
            write_noise(folder, count, 40)
            measure(folder, runs, points)
    if arguments.plot:
        draw(points, arguments.plot)


def measure(folder: Path, runs: dict[str, dict[str, Any]], points: Points) -> None:
    for name, settings in runs.items():
        command = [sys.executable, __file__, "--images", str(folder)]
        command += ["--child", json.dumps(settings)]
        load = os.getloadavg()[0]
        found = json.loads(output_of(command).splitlines()[-1])
        points[name].append((found["images"], found["steady"]))
        print(
            f"{name:31s} {found['images']:7,d} {found['peak']:8.0f} {found['steady']:9.0f} "
            f"{found['steady'] / points[name][0][1]:11.3f} {found['seconds']:.1f} "
            f"(load before it {load:.1f})",
            flush=True,
        )


def child(folder: Path, settings: dict[str, Any]) -> None:
    """Extract, and print what was resident; this process does nothing else."""
    samples: list[float] = []
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        done = extract(
            folder,
            Path(out, "x.h5"),
            progress=lambda *_: samples.append(resident("VmRSS")),
            **settings,
        )
    found = {
        "images": done.images,
        "peak": resident("VmHWM"),
        "steady": statistics.median(samples[len(samples) // 2 :]),
        "seconds": time.perf_counter() - started,
    }
    print(json.dumps(found))


def resident(field: str) -> float:
    """MB; not by `getrusage`, whose peak is at least the parent's at the time of the fork."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1000


def draw(points: Points, path: Path) -> None:
    with drawing(None, 6.4, 3.6) as ax:
        for number, (name, pairs) in enumerate(points.items()):
            counts, sizes = zip(*pairs, strict=True)
            ax.plot(counts, sizes, "o-", markersize=4, color=COLORS[f"c{number}"], label=name)
        ax.set(xscale="log", xlabel="images", ylabel="resident MB", ylim=(0, None))
        ticks = sorted({count for pairs in points.values() for count, _ in pairs})
        ax.set_xticks(ticks, [f"{count:,}" for count in ticks])
        ax.minorticks_off()
        ax.figure.legend(loc="outside right center")
        ax.set_title("Resident memory of extract", loc="left")
        save_figure(ax, path)


if __name__ == "__main__":
    main()
