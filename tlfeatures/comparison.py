"""Ranking heads, with intervals, and saying which can't be told from the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset import Dataset
from tlfeatures.evaluate import Evaluation, or_none
from tlfeatures.features.names import counted
from tlfeatures.results import Entry, Study, series_of
from tlfeatures.statistics import (
    SCORES,
    bootstrap_intervals,
    corrected_t_test,
    detectable_difference,
    holm,
    paired_bootstrap_test,
    pooled_scores,
    resample_counts,
    resampled_scores,
)

LEVEL = 0.05
FEW = 100  # tested images, or groups, below which the test has little to go on
VERY_FEW = 20  # below which percentile intervals are too narrow

INTERVALS = (
    "95 % intervals: percentile bootstrap over images (whole groups where there are any) of the "
    "scores of the pooled out-of-fold predictions; Wilson's where all were right, or all wrong"
)
TESTS = {
    True: "p: corrected resampled t-test (Nadeau and Bengio 2003) of the fold scores against the "
    "best, Holm-adjusted",
    False: "p: paired bootstrap test over images against the best, Holm-adjusted",
}


@dataclass(frozen=True)
class Rank:
    """A head on an embedding, over all its repeats.

    Attributes
    ----------
    head, embedding : str
    label : str
        The head, the parameters that tell it from others of the same name, and in brackets whether
        it was tuned, and the variants that it was trained on.
    tuned : bool
    params : dict
    repeats : int
    scores : dict of name to {score, interval}
        The mean over repeats of the pooled score, and its interval; further scores are the mean
        over folds, without an interval.
    fit_seconds : float
        Mean of a fold.
    difference, p : float or None
        Of its score to the best head's, and whether chance explains it; None for the best itself,
        and the p of what was not tested.
    best : bool
        Whether it is the best, or was tested and can't be told from it.
    keys : list of str
        Of its entries, in the order of repeats.
    """

    head: str
    embedding: str
    label: str
    tuned: bool
    params: dict[str, Any]
    repeats: int
    scores: dict[str, dict[str, Any]]
    fit_seconds: float
    difference: float | None
    p: float | None
    best: bool
    keys: list[str]

    @property
    def name(self) -> str:
        """The head, and what it was fitted on."""
        return f"{self.label} on {self.embedding}"


@dataclass(frozen=True)
class Comparison:
    """The ranking, and what it can tell.

    Attributes
    ----------
    scoring : str
        The score that ranks.
    ranking : list of Rank
        Best first.
    detectable : float or None
        Difference that the test, with Holm's level, would tell about every other time: the median
        over the heads.
    verdict : list of str
        Sentences.
    folds : int
        Of a repeat; with one, heads are compared over images in place of folds.
    """

    scoring: str
    ranking: list[Rank]
    detectable: float | None
    verdict: list[str]
    folds: int

    @property
    def test_method(self) -> str:
        """How heads were compared."""
        return TESTS[self.folds > 1]

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-ready plain data."""
        facts = asdict(self)
        del facts["folds"]  # the study's
        return {**facts, "interval_method": INTERVALS, "test_method": self.test_method}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Comparison:
        """Read what `to_dict` wrote, and the number of folds beside it."""
        ranking = [Rank(**rank) for rank in facts["ranking"]]
        names = ("scoring", "detectable", "verdict", "folds")
        return cls(ranking=ranking, **{name: facts[name] for name in names})


def compare(
    entries: Sequence[Entry], study: Study, scoring: str, random_state: int | None
) -> Comparison:
    """Rank entries of one study; give each its interval; test each against the best.

    Parameters
    ----------
    entries : sequence of Entry
        `facts["scores"]` get their `interval` and `pooled`, the score that it belongs to.
    study : Study
    scoring : str
    random_state : int or None
        Of the bootstrap; all heads are scored on the same resamples.

    Returns
    -------
    Comparison
    """
    series = _series([entry for entry in entries if scoring in entry.facts["scores"]])
    tested = next(iter(series.values()))[0].fold >= 0
    resamples = _Resamples.of(study, study.classes, tested, random_state)
    scored = {key: _scores(each, resamples) for key, each in series.items()}
    keys = sorted(series, key=lambda key: _rank(scored[key], scoring), reverse=True)
    ranked = [series[key] for key in keys]
    folds = study.facts["folds"]
    if folds > 1:
        outcomes, detectable = _fold_tests(ranked, scoring)
    else:
        outcomes, detectable = _image_tests(ranked, scoring, resamples), math.nan
    labels, embeddings = _labels(ranked), _embeddings(ranked)
    ranking = [
        _ranked(
            series[key],
            labels[place],
            embeddings[place],
            scored[key],
            *outcomes[place],
            first=place == 0,
        )
        for place, key in enumerate(keys)
    ]
    verdict = _verdict(ranking, resamples, folds, scoring, detectable)
    return Comparison(scoring, ranking, or_none(detectable), verdict, folds)


def score_intervals(
    evaluation: Evaluation,
    data: Dataset,
    random_state: int | None = 0,
    *,
    classes: list[str] | None = None,
) -> dict[str, list[float] | None]:
    """Give the 95 % interval of each score of one evaluation.

    Parameters
    ----------
    evaluation : Evaluation
    data : Dataset
        That was evaluated.
    random_state : int or None
        Of the bootstrap.
    classes : list of str, optional
        Of the head, sorted, where the data need not have an image of each.

    Returns
    -------
    dict of name to [low, high], or None where there is none
        See `tlfeatures.statistics.bootstrap_intervals`.
    """
    resamples = _Resamples.of(data, classes or data.classes, evaluation.fold >= 0, random_state)
    found = resamples.intervals([evaluation])
    return {name: found.get(name) for name in evaluation.scores}


def _series(entries: Sequence[Entry]) -> dict[tuple[Any, ...], list[Entry]]:
    """Entries that differ in nothing but the repeat, in the order of repeats."""
    series: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.facts["repeat"]):
        series.setdefault(series_of(entry), []).append(entry)
    return series


# ---- scores and intervals


@dataclass(frozen=True)
class _Resamples:
    rows: NDArray[np.bool_]
    codes: NDArray[np.int_]
    counts: NDArray[np.float32]
    units: int

    @classmethod
    def of(
        cls,
        images: Study | Dataset,
        classes: list[str],
        tested: NDArray[np.bool_],
        seed: int | None,
    ) -> _Resamples:
        groups = None if images.together is None else images.together[tested]
        n = int(tested.sum())
        return cls(
            tested,
            np.searchsorted(classes, images.y[tested]),
            resample_counts(n, groups, random_state=seed),
            n if groups is None else len(np.unique(groups)),
        )

    def score(self, entries: Sequence[Entry]) -> dict[str, dict[str, Any]]:
        predicted, tables = self._predictions(entries)
        once = np.ones((len(self.codes), 1))
        pooled = [
            pooled_scores(self.codes, *pair, once) for pair in zip(predicted, tables, strict=True)
        ]
        intervals = self.intervals(entries)
        return {
            name: {
                "score": or_none(np.mean([scores[name][0] for scores in pooled])),
                "interval": intervals[name],
            }
            for name in SCORES
        }

    def intervals(self, entries: Sequence[Entry | Evaluation]) -> dict[str, list[float] | None]:
        found = bootstrap_intervals(
            self.codes, *self._predictions(entries), self.counts, units=self.units
        )
        return {name: _plain(interval) for name, interval in found.items()}

    def resampled(self, entries: Sequence[Entry]) -> dict[str, NDArray[np.float64]]:
        return resampled_scores(self.codes, *self._predictions(entries), self.counts)

    def _predictions(
        self, entries: Sequence[Entry | Evaluation]
    ) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
        predicted = np.array([entry.predicted[self.rows] for entry in entries])
        return predicted, np.array([entry.probabilities[self.rows] for entry in entries])


def _scores(entries: list[Entry], resamples: _Resamples) -> dict[str, dict[str, Any]]:
    for entry in entries:
        _note(entry, resamples.score([entry]))
    scores = resamples.score(entries) if len(entries) > 1 else _noted(entries[0])
    for name in entries[0].facts["scores"]:
        if name not in scores:
            mean = np.mean([_number(entry.facts["scores"][name]["mean"]) for entry in entries])
            scores[name] = {"score": or_none(mean), "interval": None}
    return scores


def _note(entry: Entry, scores: dict[str, dict[str, Any]]) -> None:
    for name, facts in entry.facts["scores"].items():
        own = scores.get(name, {"score": None, "interval": None})
        facts |= {"pooled": own["score"], "interval": own["interval"]}


def _noted(entry: Entry) -> dict[str, dict[str, Any]]:
    facts = entry.facts["scores"]
    return {
        name: {"score": facts[name]["pooled"], "interval": facts[name]["interval"]}
        for name in SCORES
    }


def _plain(interval: tuple[float, float]) -> list[float] | None:
    return None if math.isnan(interval[0]) else list(interval)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _rank(scores: dict[str, dict[str, Any]], scoring: str) -> float:
    """Larger is better, and no number is worst; of our own scores only log loss is a loss."""
    value = _number(scores[scoring]["score"])
    if math.isnan(value):
        return -math.inf
    return -value if scoring == "log_loss" else value


def _ranked(
    entries: list[Entry],
    label: str,
    embedding: str,
    scores: dict[str, Any],
    difference: float,
    p: float,
    first: bool,
) -> Rank:
    facts = entries[0].facts
    return Rank(
        head=facts["head"],
        embedding=embedding,
        label=label,
        tuned=facts["tuned"],
        params=facts["params"],
        repeats=len(entries),
        scores=scores,
        fit_seconds=float(np.mean([entry.facts["fit_seconds"] for entry in entries])),
        difference=or_none(difference),
        p=or_none(p),
        best=first or p > LEVEL,
        keys=[entry.facts["key"] for entry in entries],
    )


# ---- tests

Outcomes = list[tuple[float, float]]  # difference to the best, adjusted p; NaN for the best


def _fold_tests(ranked: list[list[Entry]], scoring: str) -> tuple[Outcomes, float]:
    best = ranked[0]
    differences = [_differences(best, each, scoring) for each in ranked[1:]]
    fraction = float(np.mean([entry.facts["test_fraction"] for entry in best]))
    p = [corrected_t_test(each, fraction) for each in differences]
    # At the level that Holm's first step asks for, as the marks do.
    level = LEVEL / max(len(differences), 1)
    told = [detectable_difference(each, fraction, level=level) for each in differences]
    known = [value for value in told if not math.isnan(value)]
    means = [float(each.mean()) if len(each) else math.nan for each in differences]
    return _outcomes(means, p), float(np.median(known)) if known else math.nan


def _image_tests(ranked: list[list[Entry]], scoring: str, resamples: _Resamples) -> Outcomes:
    if scoring not in SCORES or resamples.units < VERY_FEW:
        missing = [math.nan] * (len(ranked) - 1)
        return _outcomes(missing, missing)
    best, *others = [resamples.resampled(entries)[scoring] for entries in ranked]
    means = [float(np.nanmean(each - best)) for each in others]
    return _outcomes(means, [paired_bootstrap_test(best, each) for each in others])


def _outcomes(differences: list[float], p: list[float]) -> Outcomes:
    adjusted = holm(p).tolist()
    return [(math.nan, math.nan), *zip(differences, adjusted, strict=True)]


def _differences(best: list[Entry], other: list[Entry], scoring: str) -> NDArray[np.float64]:
    """Fold by fold, over the repeats that both have."""
    known = {entry.facts["repeat"]: _folds(entry, scoring) for entry in other}
    pairs = [
        known[entry.facts["repeat"]] - _folds(entry, scoring)
        for entry in best
        if entry.facts["repeat"] in known
    ]
    return np.concatenate(pairs) if pairs else np.empty(0)


def _folds(entry: Entry, scoring: str) -> NDArray[np.float64]:
    return np.array([_number(value) for value in entry.facts["scores"][scoring]["folds"]])


def _verdict(
    ranking: list[Rank], resamples: _Resamples, folds: int, scoring: str, detectable: float
) -> list[str]:
    same = [rank for rank in ranking[1:] if rank.best]
    lines = [_first(ranking, same)] if len(ranking) > 1 else []
    if not math.isnan(detectable):
        more = "; more --repeats tell smaller ones" if ranking[0].repeats < 5 else ""
        lines.append(
            f"With {len(resamples.codes):,} images and {folds} folds a repeat, a true difference "
            f"in {scoring.replace('_', ' ')} of {detectable:.3f} is told about every other "
            f"time{more}."
        )
    return [*lines, *_warnings(ranking, same, resamples)]


def _first(ranking: list[Rank], same: list[Rank]) -> str:
    first = _named(ranking[0], ranking)
    if all(rank.p is None for rank in ranking):
        return f"{first} is first; whether others are worse was not tested."
    if not same:
        return f"{first} is first, and can be told from every other (p at most {LEVEL})."
    names = [_named(rank, ranking) for rank in same]
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return (
        f"{first} is first, but can't be told from: {', '.join(names[:6])}{more}. That is no proof "
        "that they are equal."
    )


def _warnings(ranking: list[Rank], same: list[Rank], resamples: _Resamples) -> list[str]:
    lines = []
    if any(rank.head == "dummy" for rank in same):
        lines.append(
            "Not even guessing (dummy) can be told from the best: the test can't tell here."
        )
    elif same and len(same) == len(ranking) - 1:
        lines.append("The test can't tell any of these heads from the best.")
    if resamples.units < FEW:
        what = "images" if resamples.units == len(resamples.codes) else "groups"
        lines.append(
            f"{resamples.units} {what} are few: heads can't be told apart unless they differ much"
            + (", and the intervals are too narrow." if resamples.units < VERY_FEW else ".")
        )
    return lines


def _named(rank: Rank, ranking: list[Rank]) -> str:
    """The head, and its embedding where there are several."""
    several = len({other.embedding for other in ranking}) > 1
    return rank.name if several else rank.label


def _labels(ranked: list[list[Entry]]) -> list[str]:
    """Head, and what parameters tell it from others of the same head and embedding, (how)."""
    facts = [entries[0].facts for entries in ranked]
    return [_label(each, [other for other in facts if _alike(each, other)]) for each in facts]


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether parameters tell them apart, and the variants trained on at most beside them."""
    same = all(one[key] == other[key] for key in ("head", "tuned"))
    return same and _images(one) == _images(other)


def _label(facts: dict[str, Any], alike: list[dict[str, Any]]) -> str:
    differing = [
        f"{name}={value}"
        for name, value in facts["params"].items()
        if any(other["params"].get(name) != value for other in alike)
    ]
    variants = facts.get("variants", 0)  # folders of earlier versions don't say
    how = [
        *(["tuned"] if facts["tuned"] else []),
        *([counted(variants, "variant")] if variants else []),
    ]
    return " ".join([facts["head"], *differing]) + (f" ({', '.join(how)})" if how else "")


def _embeddings(ranked: list[list[Entry]]) -> list[str]:
    """The embedding's name, and its file's where others have another one of that name."""
    facts = [entries[0].facts for entries in ranked]
    matrices: dict[tuple[Any, ...], set[str]] = {}
    for each in facts:
        # Without that of the variants: the label tells how many there are, and no more.
        matrices.setdefault((each["embedding"],), set()).add(_images(each))
        matrices.setdefault(_kind(each), set()).add(each["matrix"])
    return [
        f"{Path(each['file']).name}:{each['embedding']}"
        if len(matrices[each["embedding"],]) > 1 or len(matrices[_kind(each)]) > 1
        else each["embedding"]
        for each in facts
    ]


def _images(facts: dict[str, Any]) -> str:
    """Give the hash of the images' values, without that of their variants."""
    matrix: str = facts["matrix"]
    return matrix.partition("+")[0]


def _kind(facts: dict[str, Any]) -> tuple[str, int]:
    return facts["embedding"], facts.get("variants", 0)
