"""Ranking heads, with intervals, and testing which are significantly different from the best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlfeatures.benchmarking.store import Entry, Study, series_of
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.errors import ParameterError
from tlfeatures.metrics.head_tests import LEVEL, VERY_FEW, Outcome, fold_tests, image_tests
from tlfeatures.metrics.resamples import Resamples
from tlfeatures.model_selection.cross_validation import Evaluation, or_none
from tlfeatures.names import counted, some_of

FEW = 100  # tested images, or groups, below which the test has little to go on

NO_INTERVAL = "scores of --scoring are means over folds, without an interval"

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
    scores : dict of name to {score, interval, reason}
        The mean over repeats of the pooled score, and its interval; further scores are the mean
        over folds, without an interval. The reason says in words why one of the two is None.
    fit_seconds : float
        Mean of a fold.
    difference, p : float or None
        Of its score to the best head's, and the probability of such a difference by chance; None
        for the best itself, and where it can't be tested.
    best : bool
        Whether it is the best, or not significantly different from it.
    keys : list of str
        Of its entries, in the order of repeats.
    standing : {"best", "not different", "different", "untested"}
        Against the best head: significantly different or not, or the test can't be made.
    reason : str or None
        Why the test can't be made.
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
    standing: str
    reason: str | None

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
        Difference that the test, with Holm's level, would find half of the time: the median
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
        `facts["scores"]` get their `interval` and `pooled`, the score that it belongs to, and the
        reason where one of them is missing.
    study : Study
    scoring : str
    random_state : int or None
        Of the bootstrap; all heads are scored on the same resamples.

    Returns
    -------
    Comparison

    Raises
    ------
    ParameterError
        If no entry has that score.
    """
    series = _series([entry for entry in entries if scoring in entry.facts["scores"]])
    tested = next(iter(series.values()))[0].fold >= 0
    resamples = Resamples.of(study, study.classes, tested, random_state)
    scored = {key: _scores(each, resamples) for key, each in series.items()}
    if all(each[scoring]["score"] is None for each in scored.values()):
        raise nothing_ranks(scoring, (each[scoring]["reason"] for each in scored.values()))
    keys = sorted(series, key=lambda key: _rank(scored[key], scoring), reverse=True)
    ranked, scores = [series[key] for key in keys], [scored[key] for key in keys]
    folds = study.facts["folds"]
    if folds > 1:
        outcomes, detectable = fold_tests(ranked, scores, scoring)
    else:
        outcomes, detectable = image_tests(ranked, scores, scoring, resamples), math.nan
    columns = zip(ranked, _labels(ranked), _embeddings(ranked), scores, outcomes, strict=True)
    ranking = [
        _ranked(*each, standing=each[-1].standing(first=place == 0))
        for place, each in enumerate(columns)
    ]
    verdict = _verdict(ranking, resamples, folds, scoring, detectable)
    return Comparison(scoring, ranking, or_none(detectable), verdict, folds)


def nothing_ranks(scoring: str, reasons: Iterable[str | None]) -> ParameterError:
    """Say that no head has the score by which heads are to be ranked, and why."""
    why = "; ".join(sorted(set(filter(None, reasons))))
    return ParameterError(
        f"{scoring} is not defined for any of the heads on these images{f' ({why})' if why else ''}"
        "; rank them by another score, as with --scoring accuracy"
    )


def scores_with_intervals(
    evaluation: Evaluation,
    data: Dataset,
    random_state: int | None = 0,
    *,
    classes: list[str] | None = None,
) -> dict[str, dict[str, Any]]:
    """Give each score of one evaluation over all tested images, with its 95 % interval.

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
    dict of name to {score, interval, reason}
        As in `Rank`.
    """
    resamples = Resamples.of(data, classes or data.classes, evaluation.fold >= 0, random_state)
    found = resamples.score([evaluation])
    for name, values in evaluation.scores.items():
        if name not in found:
            reason = evaluation.reasons.get(name, NO_INTERVAL)
            found[name] = {"score": or_none(values.mean()), "interval": None, "reason": reason}
    return found


def _series(entries: Sequence[Entry]) -> dict[tuple[Any, ...], list[Entry]]:
    """Entries that differ in nothing but the repeat, in the order of repeats."""
    series: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.facts["repeat"]):
        series.setdefault(series_of(entry), []).append(entry)
    return series


# ---- scores and intervals

_NOT_SCORED = {"mean": None, "reason": "another repeat of the benchmark was not given this score"}


def _scores(entries: list[Entry], resamples: Resamples) -> dict[str, dict[str, Any]]:
    each = [resamples.score([entry]) for entry in entries]
    for entry, scores in zip(entries, each, strict=True):
        _note(entry, scores)
    found = resamples.score(entries) if len(entries) > 1 else each[0]
    for name in entries[0].facts["scores"]:
        if name not in found:
            noted = [entry.facts["scores"].get(name, _NOT_SCORED) for entry in entries]
            mean = np.mean([np.nan if facts["mean"] is None else facts["mean"] for facts in noted])
            reason = next((facts["reason"] for facts in noted if facts["mean"] is None), None)
            found[name] = {
                "score": or_none(mean),
                "interval": None,
                "reason": reason or NO_INTERVAL,
            }
    return found


def _note(entry: Entry, scores: dict[str, dict[str, Any]]) -> None:
    """Add what is pooled; the reason is that of the first value that is missing."""
    for name, facts in entry.facts["scores"].items():
        own = scores.get(name, {"score": None, "interval": None, "reason": NO_INTERVAL})
        of_folds = facts.get("reason") if facts["mean"] is None else None
        facts |= {
            "pooled": own["score"],
            "interval": own["interval"],
            "reason": of_folds or own["reason"],
        }


def _rank(scores: dict[str, dict[str, Any]], scoring: str) -> float:
    """Larger is better, and no number is worst; of our own scores only log loss is a loss."""
    value: float | None = scores[scoring]["score"]
    if value is None:
        return -math.inf
    return -value if scoring == "log_loss" else value


def _ranked(
    entries: list[Entry],
    label: str,
    embedding: str,
    scores: dict[str, Any],
    outcome: Outcome,
    standing: str,
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
        difference=or_none(outcome.difference),
        p=or_none(outcome.p),
        best=standing in ("best", "not different"),
        keys=[entry.facts["key"] for entry in entries],
        standing=standing,
        reason=outcome.reason,
    )


def _verdict(
    ranking: list[Rank], resamples: Resamples, folds: int, scoring: str, detectable: float
) -> list[str]:
    same = [rank for rank in ranking[1:] if rank.best]
    lines = [_first(ranking, same), *_untested(ranking)] if len(ranking) > 1 else []
    if not math.isnan(detectable):
        more = "; more --repeats find smaller ones" if ranking[0].repeats < 5 else ""
        lines.append(
            f"With {len(resamples.codes):,} images and {folds} folds a repeat, a difference in "
            f"{scoring.replace('_', ' ')} under {detectable:.3f} would go unnoticed half of the "
            f"time{more}."
        )
    return [*lines, *_warnings(ranking, same, resamples)]


def _first(ranking: list[Rank], same: list[Rank]) -> str:
    first = _named(ranking[0], ranking)
    tested = [rank for rank in ranking[1:] if rank.standing != "untested"]
    if not tested:
        return f"{first} is first; no test tells whether the others are worse."
    if not same:
        which = "every other" if len(tested) == len(ranking) - 1 else "every other that is tested"
        return f"{first} is first, and significantly different from {which} (p at most {LEVEL})."
    return (
        f"{first} is first, but not significantly different from: {_names(same, ranking)}. That is "
        "no proof that they are equal."
    )


def _untested(ranking: list[Rank]) -> list[str]:
    """Name the heads that can't be tested against the best, with the reason."""
    by_reason: dict[str, list[Rank]] = {}
    for rank in ranking[1:]:
        if rank.reason is not None:
            by_reason.setdefault(rank.reason, []).append(rank)
    return [
        f"Can't be tested against the best: {_names(ranks, ranking)}; {reason}."
        for reason, ranks in by_reason.items()
    ]


def _names(ranks: list[Rank], ranking: list[Rank]) -> str:
    return some_of((_named(rank, ranking) for rank in ranks), 6)


def _warnings(ranking: list[Rank], same: list[Rank], resamples: Resamples) -> list[str]:
    lines = []
    if any(rank.head == "dummy" for rank in same):
        lines.append(
            "Not even guessing (dummy) is significantly different from the best: with these images "
            "the test can't tell heads apart."
        )
    elif same and len(same) == len(ranking) - 1:
        lines.append("None of these heads is significantly different from the best.")
    if resamples.units < FEW:
        lines.append(
            f"{resamples.units} {resamples.unit} are few: only large differences between heads "
            "can be found"
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
