"""The ranking of heads as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.benchmarking.control import Control
from tlfeatures.metrics.against_best import by_images
from tlfeatures.metrics.chosen import ChosenScore
from tlfeatures.metrics.group_scores import GroupScores
from tlfeatures.metrics.score_records import Score, score_line
from tlfeatures.names import counted

INTERVALS = (
    "95 % interval: with very many new images, the score would probably lie in it. All tested "
    "images are scored together, and each is tested by a head that was not trained on it. Accuracy "
    "and balanced accuracy have Wilson's interval; with groups or copies, it is that of a smaller, "
    "effective number of images. Other scores have percentiles of a bootstrap over images, or over "
    "whole groups"
)
_IMAGES = (
    "p: probability of so large a difference to the best head if all heads are equally good (p "
    "value); at most 0.05 is significant. It is of a paired test over the tested images, or over "
    "whole groups if there are any."
)
_TRAINING = "Its variance includes the effect of other training images (Nadeau and Bengio 2003)."
_BEST = "The test takes into account that the best of all heads was chosen (Hsu 1996)"
TESTS = {
    "images": f"{_IMAGES} {_TRAINING} {_BEST}",
    "split": f"{_IMAGES} {_BEST}",
    "folds": "p: probability of so large a difference to the best head if all heads are equally "
    "good (p value); at most 0.05 is significant. It is of a t-test of the scores of folds. "
    f"{_TRAINING} {_BEST}",
}
CORRECTED = (
    "the score to expect of the best head on new images. Its own score is too high, because it was "
    "chosen as the best on the same images"
)
WITHIN = (
    "within 1 point: probability that the head is at most 1 percentage point better or worse than "
    "the best head (Bayesian correlated t-test, Corani and Benavoli 2015)"
)


@dataclass(frozen=True)
class Rank:
    """A head on an embedding, over all its repeats.

    Attributes
    ----------
    head, embedding : str
    classifier : str
        Classes of the head's steps.
    label : str
        Name of the head, the parameters in which it differs from others of the same name, and in
        brackets whether it was tuned and the number of variants that it was trained on.
    tuned : bool
    params : dict
    repeats : int
    scores : dict of name to Score
        Mean over repeats of the pooled score, its interval, and mean, deviation and values of the
        folds of all repeats.
    fit_seconds : float
        Mean over folds.
    difference, p : float or None
        Difference to the best head's score, and its p value; None for the best head, and if there
        is no test.
    difference_interval : [float, float] or None
        95 % interval of this difference. It holds for all heads together, and contains 0 if and
        only if the head is not significantly different from the best.
    best : bool
        Whether it is the best head, or not significantly different from it.
    keys : list of str
        Keys of its entries, in the order of repeats.
    standing : {"best", "not different", "different", "untested"}
        How it compares with the best head.
    reason : str or None
        Why there is no test.
    within, worse : float or None
        Probability that it is within 1 percentage point of the best head, and that it is worse by
        more. None for the best head, if there is no test, and for scores that are not from 0 to 1.
    """

    head: str
    embedding: str
    classifier: str
    label: str
    tuned: bool
    params: dict[str, Any]
    repeats: int
    scores: dict[str, Score]
    fit_seconds: float
    difference: float | None
    p: float | None
    difference_interval: list[float] | None
    best: bool
    keys: list[str]
    standing: str
    reason: str | None
    within: float | None = None
    worse: float | None = None

    @property
    def is_dummy(self) -> bool:
        """Whether the head always predicts the largest class. This does not depend on its name."""
        return self.classifier.endswith("sklearn.dummy.DummyClassifier")

    @property
    def name(self) -> str:
        """Label of the head and name of its embedding."""
        return f"{self.label} on {self.embedding}"


@dataclass(frozen=True)
class BackboneRank:
    """The best place of a backbone in a ranking.

    Attributes
    ----------
    name : str
        Name of the backbone, or of its file if several files have this backbone. Backbones whose
        embeddings are joined have ` + ` between their names.
    place : int
        Place of its best head and embedding in the ranking; 0 for the first.
    columns : int
        Number of columns of this embedding.
    images_per_second : float or None
        Speed of the backbone alone on the machine of the benchmark; None if it wasn't measured.
    """

    name: str
    place: int
    columns: int
    images_per_second: float | None = None


@dataclass(frozen=True)
class LargestClass:
    """The result of always predicting the largest class, which a head must beat.

    Attributes
    ----------
    label : str
        The class with most tested images.
    share : float
        Its share of the tested images. It is the accuracy of always predicting this class.
    units : int
        Number of tested images, or of their groups.
    """

    label: str
    share: float
    units: int

    @classmethod
    def of(cls, codes: NDArray[np.int_], classes: list[str], units: int) -> LargestClass:
        """Find it among the class codes of the tested images, of shape (n,)."""
        counts = np.bincount(codes, minlength=len(classes))
        return cls(classes[int(counts.argmax())], float(counts.max() / len(codes)), units)

    def is_below(self, interval: Sequence[float] | None) -> bool:
        """Whether the whole 95 % interval of a head's accuracy lies above the share."""
        return interval is not None and interval[0] > self.share


@dataclass(frozen=True)
class Comparison:
    """The ranking of the heads of a benchmark, with its verdict.

    Attributes
    ----------
    scoring : str
        The score that ranks.
    ranking : list of Rank
        Best first.
    detectable : float or None
        Difference to the best head that the test would find half of the time; median over the
        heads.
    verdict : list of str
        What the scores say, in sentences: whether the best head is more accurate than always
        predicting the largest class, and which heads differ significantly.
    folds : int
        Folds of a repeat; with one fold, heads are compared over images instead of folds.
    largest_class : LargestClass
        The accuracy of always predicting the largest class.
    backbones : list of BackboneRank
        The backbones, the best first; empty if there is only one.
    controls : list of Control
        Simple rules that the best head must beat: the largest class, colours, properties of the
        files, and permuted labels.
    chosen : dict of name to ChosenScore
        The ranking score and the accuracy of the best head, corrected for having been chosen.
    group_scores : GroupScores or None
        Accuracies of the best head on the groups that the user gave; None without groups.
    """

    scoring: str
    ranking: list[Rank]
    detectable: float | None
    verdict: list[str]
    folds: int
    largest_class: LargestClass
    backbones: list[BackboneRank] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    chosen: dict[str, ChosenScore] = field(default_factory=dict)
    group_scores: GroupScores | None = None

    def __repr__(self) -> str:
        """Describe it in one line."""
        first, corrected = self.ranking[0], self.corrected(self.scoring)
        if corrected is None or corrected.score is None:
            several = f"best of {len(self.ranking)} heads: " if len(self.ranking) > 1 else ""
            return f"<Comparison: {several}{first.name}, {score_line(self.scoring, first.scores)}>"
        line = score_line(self.scoring, {self.scoring: corrected.as_pooled()})
        return f"<Comparison: best of {len(self.ranking)} heads: {first.name}, corrected {line}>"

    def corrected(self, scoring: str) -> ChosenScore | None:
        """Return a score of the best head, corrected for having been chosen.

        Parameters
        ----------
        scoring : str
            The ranking score or "accuracy".

        Returns
        -------
        ChosenScore or None
            None if there was no choice, because the ranking has only one head. `score` is None if
            the score can't be corrected.
        """
        return self.chosen.get(scoring) if len(self.ranking) > 1 else None

    def interval_of(self, rank: Rank, scoring: str) -> list[float] | None:
        """Return the 95 % interval of a score of a head; that of the best head is corrected.

        A score that can't be corrected has its own interval.
        """
        corrected = self.corrected(scoring) if rank is self.ranking[0] else None
        if corrected is None or corrected.score is None:
            return rank.scores[scoring]["interval"]
        return corrected.interval

    def is_surely_better(self, rank: Rank) -> bool:
        """Whether a head is surely better than always predicting the largest class.

        The 95 % interval of its accuracy must lie above the share of the largest class, and for the
        best head also the test against a head that always predicts this class must find a
        difference, if such a head was compared.
        """
        return self.largest_class.is_below(self.interval_of(rank, "accuracy")) and not (
            rank is self.ranking[0] and self.tied_dummies
        )

    @property
    def tied_dummies(self) -> list[Rank]:
        """Heads that always predict the largest class and don't differ from the best head."""
        return [
            rank for rank in self.ranking[1:] if rank.is_dummy and rank.standing == "not different"
        ]

    @property
    def choices(self) -> str:
        """What the best head was chosen from, for example "10 heads"."""
        embeddings = len({rank.embedding for rank in self.ranking})
        of = "" if embeddings == 1 else f" (on {embeddings} embeddings)"
        return f"{counted(len(self.ranking), 'head')}{of}"

    def name_of(self, rank: Rank) -> str:
        """Return the label of a head, with its embedding if the ranking has several."""
        several = len({other.embedding for other in self.ranking}) > 1
        return rank.name if several else rank.label

    @property
    def has_within(self) -> bool:
        """Whether any head has a probability to be within 1 point of the best head."""
        return any(rank.within is not None for rank in self.ranking)

    @property
    def test_method(self) -> str:
        """The test that compared the heads, in words."""
        if not by_images(self.scoring, self.largest_class.units) and self.folds > 1:
            return TESTS["folds"]
        return TESTS["images" if self.folds > 1 else "split"]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready plain data."""
        facts = asdict(self)
        del facts["folds"]  # the study has it
        return {**facts, "interval_method": INTERVALS, "test_method": self.test_method}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Comparison:
        """Read what `to_dict` returned, together with the study's number of folds."""
        ranking = [Rank(**rank) for rank in facts["ranking"]]
        names = ("scoring", "detectable", "verdict", "folds")
        largest = LargestClass(**facts["largest_class"])
        own = {name: facts[name] for name in names}
        chosen = {name: ChosenScore(**score) for name, score in facts["chosen"].items()}
        backbones = [BackboneRank(**backbone) for backbone in facts["backbones"]]
        groups = facts["group_scores"]
        scored = None if groups is None else GroupScores.from_dict(groups)
        controls = [Control(**control) for control in facts["controls"]]
        return cls(
            ranking=ranking,
            largest_class=largest,
            backbones=backbones,
            chosen=chosen,
            group_scores=scored,
            controls=controls,
            **own,
        )
