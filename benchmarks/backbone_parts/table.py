"""Every backbone by every engine in every precision: speed, cosines and accuracy."""

from __future__ import annotations

import hashlib
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common import Way, all_ways, pixels_of, smallest_cosine

from backbone_parts.network import Network, Pixels, Rows, rates, take_turns
from tlfeatures import benchmark, extract
from tlfeatures.errors import TlfeaturesError
from tlfeatures.features.engines.engine import LoadedBackbone
from tlfeatures.features.file.reader import open_embeddings
from tlfeatures.features.spec import Spec

Accuracy = tuple[float, float, float]  # and the ends of its interval of 95 %


@dataclass(frozen=True)
class Candidate:
    """A backbone by an engine in a precision, loaded."""

    network: Network
    way: Way
    spec: Spec
    loaded: LoadedBackbone

    @property
    def name(self) -> str:
        """Name in the table."""
        return f"{self.network.title:20s} {' '.join(self.way):20s}"


@dataclass(frozen=True)
class TableOptions:
    """What is measured.

    Attributes
    ----------
    sets : dict of name to folder
        Sets of images with classes.
    paths : list of Path
        Images of a turn.
    rounds : int
    ways : list of (engine, precision) or None
        All if None.
    files : Path
        Where the embeddings of the sets are kept.
    accuracy : bool
        Whether the sets are embedded, and heads fitted on them.
    """

    sets: dict[str, Path]
    paths: list[Path]
    rounds: int
    ways: list[Way] | None
    files: Path
    accuracy: bool


def table(networks: Sequence[Network], options: TableOptions) -> list[dict[str, Any]]:
    """Measure, print the table, and give its rows."""
    candidates = loaded_candidates(networks, options)
    pixels = {each.size: pixels_of(options.paths, each.height_width) for each in networks}
    sample = {each.name: embedded(each, pixels) for each in candidates}  # engines compile here
    frameworks = framework_cosines(candidates, sample, pixels)
    runs = {each.name: lambda each=each: embedded(each, pixels) for each in candidates}
    seconds = take_turns(runs, options.rounds)
    facts = [
        {
            "backbone": each.network.title,
            "engine": each.way[0],
            "precision": each.way[1],
            "size": each.network.size,
            "images_per_second": rates(seconds[each.name], len(options.paths)),
            "framework_cosine": frameworks.get(each.name),
        }
        for each in candidates
    ]
    files = extracted(candidates, options) if options.accuracy else {}
    cosines = float32_cosines(candidates, sample, files)
    scores = {name: accuracies(own) for name, own in files.items()}
    for each, row in zip(candidates, facts, strict=True):
        row["float32_cosine"] = cosines.get(each.name)
        row["accuracy"] = {name: own[each.name] for name, own in scores.items()}
    report(candidates, facts, options)
    return facts


def loaded_candidates(networks: Sequence[Network], options: TableOptions) -> list[Candidate]:
    """Load what can be loaded here; the rest is named in a line each."""
    calibration = next(iter(options.sets.values()))
    candidates = []
    for network in networks:
        for way in all_ways(network.record):
            if options.ways is not None and way not in options.ways:
                continue
            try:
                spec = network.calibrated(way, calibration)
                candidates.append(Candidate(network, way, spec, network.load(spec)))
            except TlfeaturesError as error:
                print(f"{network.title} {' '.join(way)} is left out: {error}")
    if not candidates:
        sys.exit("no engine is left to measure: leave out --engines")
    return candidates


def embedded(candidate: Candidate, pixels: dict[int, Pixels]) -> Rows:
    return candidate.network.rows(candidate.loaded, pixels[candidate.network.size])


def extracted(candidates: Sequence[Candidate], options: TableOptions) -> dict[str, dict[str, Path]]:
    """Embed all images of the sets: set -> candidate -> embeddings file."""
    files: dict[str, dict[str, Path]] = {name: {} for name in options.sets}
    for name, folder in options.sets.items():
        for each in candidates:
            words = [name, each.network.title, str(each.network.size), *each.way]
            path = options.files / f"{'-'.join(words)}.h5"
            started = time.perf_counter()
            extract(folder, path, device="cpu", **asdict(each.network.settings(each.way)))
            taken = time.perf_counter() - started
            print(f"{each.name} {name} embedded in {taken:.1f} s", flush=True)
            files[name][each.name] = path
    return files


def read_rows(path: Path, embedding: str) -> Rows:
    with open_embeddings(path) as reader:
        rows: Rows = reader.read(embedding)
        return rows[reader.header.done]


def float32_cosines(
    candidates: Sequence[Candidate],
    sample: dict[str, Rows],
    files: dict[str, dict[str, Path]],
) -> dict[str, float]:
    """Smallest cosine to the same engine in float32, over all sets or the images of a turn."""
    found = {}
    for each in candidates:
        if each.way[1] == "float32":
            continue
        others = [other for other in candidates if other.network == each.network]
        same = [other for other in others if other.way == (each.way[0], "float32")]
        base = next(iter(same + [other for other in others if other.way[1] == "float32"]), None)
        if base is None:
            continue
        pairs = [(sample[each.name], sample[base.name])]
        if files:
            embedding = each.network.embedding
            pairs = [
                (read_rows(own[each.name], embedding), read_rows(own[base.name], embedding))
                for own in files.values()
            ]
        found[each.name] = min(smallest_cosine(*pair) for pair in pairs)
    return found


def framework_cosines(
    candidates: Sequence[Candidate], sample: dict[str, Rows], pixels: dict[int, Pixels]
) -> dict[str, float]:
    """Smallest cosine to Keras or ONNX Runtime without this package, over the images of a turn."""
    found = {}
    for network in dict.fromkeys(each.network for each in candidates):
        framework = network.reference()
        if framework is None:
            continue
        reference = framework.rows(pixels[network.size])
        for each in candidates:
            if each.network == network:
                found[each.name] = smallest_cosine(sample[each.name], reference)
    return found


def accuracies(files: dict[str, Path]) -> dict[str, Accuracy]:
    """Accuracy of a tuned logistic regression on each file, all on the same folds."""
    first: dict[str, str] = {}  # files of the same rows have the same accuracy
    same = {name: first.setdefault(digest_of(path), name) for name, path in files.items()}
    paths = {str(files[name]): name for name in first.values()}
    result = benchmark(list(paths), heads="logreg", split="cv", tune=True)
    found = {}
    for rank in result.ranking:
        score = rank.scores["accuracy"]
        low, high = score["interval"] or (float("nan"), float("nan"))
        name = paths[result.entries_of(rank)[0].facts["file"]]
        found[name] = (float(score["score"] or "nan"), low, high)
    return {name: found[other] for name, other in same.items()}


def digest_of(path: Path) -> str:
    with open_embeddings(path) as reader:
        names = sorted(reader.header.embeddings)
        return hashlib.sha256(b"".join(reader.read(name).tobytes() for name in names)).hexdigest()


def report(
    candidates: Sequence[Candidate], facts: Sequence[dict[str, Any]], options: TableOptions
) -> None:
    count = len(options.paths)
    every = "all images of the sets" if options.accuracy else "these images"
    print(
        f"{count} images a turn; the cosine to float32 is the smallest of {every}, that to the "
        "framework the smallest of the images of a turn; accuracy with 95 % interval"
    )
    sets = list(options.sets) if options.accuracy else []
    titles = ["median", "best", "to float32", "to framework", *sets]
    widths = [8, 8, 12, 12] + [24] * len(sets)
    print(line(f"{'backbone':20s} {'engine':20s}", titles, widths))
    for each, row in zip(candidates, facts, strict=True):
        speeds = row["images_per_second"]
        cells = [f"{statistics.median(speeds):.1f}", f"{max(speeds):.1f}"]
        cells += [cosine_text(row["float32_cosine"]), cosine_text(row["framework_cosine"])]
        for name in sets:
            score, low, high = row["accuracy"][name]
            cells.append(f"{score:.3f} ({low:.3f} to {high:.3f})")
        print(line(each.name, cells, widths), flush=True)


def line(name: str, cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [f"{cell:>{width}s}" for cell, width in zip(cells, widths, strict=True)]
    return " ".join([name, *aligned])


def cosine_text(cosine: float | None) -> str:
    return "-" if cosine is None else f"{cosine:.7f}"
