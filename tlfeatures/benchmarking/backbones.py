"""Which backbone pays: the backbones of a benchmark, each with its best head and embedding."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlfeatures.benchmarking.comparison import BackboneRank, Comparison, Rank
from tlfeatures.benchmarking.study import entry_parts
from tlfeatures.dataset.dataset import BETWEEN_FILES
from tlfeatures.metrics.scores import (
    LABEL_SCORES,
    less_is_better,
    score_name,
    score_text,
    score_unit,
)

AS_GOOD = 0.02  # a backbone is as good if its score is surely less than this below the best
# If n images show no difference at all, up to 3 / n of all images may still differ (the rule of
# three, 95 %). With fewer images than this, no interval can say that a backbone is as good.
_FEWEST = 3 / AS_GOOD

MUCH_FASTER = 1.5  # times; with less, speed is no reason to choose a backbone

# Settings that don't make another backbone: where its weights lie, and what was added to a file.
_SAME_BACKBONE = {"weights", "random_state", "augmentation", "top_sha256", "declaration"}

Facts = Mapping[str, Any]


def backbones_of(entries: Sequence[Facts], files: Mapping[str, Any]) -> list[str]:
    """Return the name of the backbone of each entry; of several, with ` + ` between their names.

    Parameters
    ----------
    entries : sequence of mapping
        Facts of the entries.
    files : mapping
        `files` of the facts of the study.

    Returns
    -------
    list of str
        The name of the backbone; of backbones with the same name, the names of their files. Empty
        for an entry whose file is not in `files`.
    """
    parts = [_parts(facts, files) for facts in entries]
    file_of = {_key(about): about["file"] for own in parts[::-1] for about in own}
    backbones = [_backbone(key) for key in file_of]
    names = {
        key: name if backbones.count(name) == 1 else Path(file).name
        for (key, file), name in zip(file_of.items(), backbones, strict=True)
    }
    unique = {
        key: name if list(names.values()).count(name) == 1 else file_of[key]
        for key, name in names.items()
    }
    return [BETWEEN_FILES.join(unique[_key(about)] for about in own) for own in parts]


def _parts(facts: Facts, files: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [about for _, about in entry_parts(files, facts)] if facts["file"] in files else []


def _key(about: Facts) -> str:
    spec = {name: value for name, value in about["spec"].items() if name not in _SAME_BACKBONE}
    return json.dumps(spec, sort_keys=True)


def _backbone(key: str) -> str:
    return str(json.loads(key).get("backbone"))


def rank_backbones(
    names: Sequence[str], entries: Sequence[Facts], files: Mapping[str, Any]
) -> list[BackboneRank]:
    """Return the best place of each backbone in the ranking; empty if there is only one backbone.

    Parameters
    ----------
    names : sequence of str
        Backbone of each head of the ranking, the best head first.
    entries : sequence of mapping
        Facts of an entry of each head of the ranking.
    files : mapping
        `files` of the facts of the study.
    """
    first = {name: place for place, name in reversed(list(enumerate(names))) if name}
    if len(first) < 2:
        return []
    return [
        BackboneRank(name, place, entries[place]["columns"], _speed(_parts(entries[place], files)))
        for name, place in sorted(first.items(), key=lambda item: item[1])
    ]


def _speed(parts: Sequence[Facts]) -> float | None:
    """Return the images per second of all backbones of an embedding, one after the other."""
    speeds = [about["images_per_second"] for about in parts]
    known = [speed for speed in speeds if speed is not None and speed > 0]
    return 1 / sum(1 / speed for speed in known) if speeds and len(known) == len(speeds) else None


def backbone_lines(comparison: Comparison) -> list[str]:
    """Write a sentence for each backbone, and whether several backbones together pay."""
    if not comparison.backbones:
        return []
    best, *others = comparison.backbones
    first = comparison.ranking[best.place]
    lines = [
        f"Best backbone: {best.name}, with {_described(best, first)}: "
        f"{_score(first, comparison.scoring)}."
    ]
    lines += [_against_best(other, best, comparison) for other in others]
    return [*lines, *_joined(comparison), *_faster(comparison)]


def _described(backbone: BackboneRank, rank: Rank) -> str:
    speed = backbone.images_per_second
    fast = "" if speed is None else f", {speed:,.1f} images/s"
    return f"{rank.name} ({backbone.columns:,} numbers per image{fast})"


def _score(rank: Rank, scoring: str) -> str:
    score = rank.scores[scoring]
    value = score_text(scoring, score["score"]) or "none"
    between = _between(scoring, score["interval"])
    return f"{score_name(scoring)} {value}{score_unit(scoring)}{between}"


def _against_best(backbone: BackboneRank, best: BackboneRank, comparison: Comparison) -> str:
    rank, scoring = comparison.ranking[backbone.place], comparison.scoring
    return (
        f"{backbone.name}, with {_described(backbone, rank)}, "
        f"{standing_in_words(comparison, rank)} {best.name}: {_score(rank, scoring)}"
        f"{_difference(rank, scoring)}."
    )


def standing_in_words(comparison: Comparison, rank: Rank) -> str:
    """Say how the best head of a backbone compares with the best of all, as in `is as good as`."""
    if rank.standing == "untested":
        return "can't be tested against"
    if rank.standing == "different":
        return "is worse than"
    if is_as_good(comparison, rank):
        return "is as good as"
    return "is not significantly different from"


def is_as_good(comparison: Comparison, rank: Rank) -> bool:
    """Whether a head's score is surely less than `AS_GOOD` below the best score.

    The whole 95 % interval of the difference must say so, and the interval must be of at least 150
    images (or groups).
    """
    interval, few = rank.difference_interval, comparison.largest_class.units < _FEWEST
    if interval is None or few or less_is_better(comparison.scoring):
        return False
    return rank.standing == "not different" and interval[0] > -AS_GOOD


def _difference(rank: Rank, scoring: str) -> str:
    """Write the difference to the best score with its interval; empty without a difference."""
    if rank.difference is None:
        return ""
    points = " points" if scoring in LABEL_SCORES else ""
    between = _between(scoring, rank.difference_interval)
    return f", difference {score_text(scoring, rank.difference)}{points}{between}"


def _between(scoring: str, interval: Sequence[float] | None) -> str:
    """Write an interval, with a blank before it; empty without an interval."""
    if interval is None:
        return ""
    low, high = interval
    return f" (95 % interval {score_text(scoring, low)} to {score_text(scoring, high)})"


def _joined(comparison: Comparison) -> list[str]:
    """Say whether several backbones together are better than a single one."""
    best, *others = comparison.backbones
    alone = [other for other in others if BETWEEN_FILES not in other.name]
    if BETWEEN_FILES not in best.name and len(alone) < len(others):
        return [f"Joining the backbones doesn't pay: {best.name} alone has the best score."]
    if BETWEEN_FILES not in best.name or not alone:
        return []
    standings = {other.name: comparison.ranking[other.place].standing for other in alone}
    enough = [name for name, standing in standings.items() if standing == "not different"]
    if enough:
        return [
            f"Joining the backbones may not pay: {enough[0]} alone is not significantly different."
        ]
    joined = best.name.split(BETWEEN_FILES)
    if all(standings.get(name) == "different" for name in {*joined, *standings}):
        return ["Joining the backbones pays: each of them alone is significantly worse."]
    return []


def _faster(comparison: Comparison) -> list[str]:
    """Name the fastest backbone that is as good as the best one, if it is much faster."""
    best, *others = comparison.backbones
    good = [other for other in others if is_as_good(comparison, comparison.ranking[other.place])]
    fastest = max(good, key=lambda other: other.images_per_second or 0, default=best)
    if not best.images_per_second or not fastest.images_per_second:
        return []
    times = fastest.images_per_second / best.images_per_second
    if times < MUCH_FASTER:
        return []
    return [f"{fastest.name} pays: it is as good as {best.name} and {times:.1f} times as fast."]
