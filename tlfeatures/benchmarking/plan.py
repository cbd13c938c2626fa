"""The plan of a benchmark: heads, folds and settings. All datasets of the benchmark share it."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sklearn.base import BaseEstimator

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.errors import ParameterError
from tlfeatures.heads.coordinate_step import grid_after_coordinates
from tlfeatures.heads.make_heads import make_heads, report_missing_params
from tlfeatures.heads.table import Grid, OneHead, head_grid
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer
from tlfeatures.model_selection.cross_validation import check_scoring
from tlfeatures.model_selection.evaluation import scorer_of
from tlfeatures.model_selection.folds import INNER_CV, Folding, make_folds
from tlfeatures.names import as_list, as_seed


@dataclass(frozen=True)
class Plan:
    """Heads, folds and settings of a benchmark. They are the same for all its datasets.

    Attributes
    ----------
    heads : dict of name to str or scikit-learn classifier
        Heads by name; see `named_heads`.
    params : mapping
        Parameters of the heads that are given by name.
    tune : bool
        Whether the parameters of the heads are chosen inside each training fold.
    scoring : list of str
        Scores in addition to the default ones. The first one ranks the heads.
    split : str
        `cv`, or the name of the split that is tested.
    folds : list of lists of Fold
        Folds of each repeat.
    random_state : int or None
        Seed of the first repeat. Each further repeat adds 1 to it.
    scorer : BootstrapScorer
        Scorer of the tested images. It scores all heads on the same resamples.
    many_rows : bool
        Whether the heads that are given by name have their forms for many rows.
    """

    heads: Mapping[str, OneHead]
    params: Mapping[str, Any]
    tune: bool
    scoring: list[str]
    split: str
    folds: list[list[Fold]]
    random_state: int | None
    scorer: BootstrapScorer = field(repr=False)
    many_rows: bool = False

    @classmethod
    def of(
        cls,
        data: Dataset,
        heads: Mapping[str, OneHead],
        *,
        params: Mapping[str, Any] | None,
        tune: bool,
        scoring: str | Sequence[str],
        cv: Folding | None,
        split: str,
        repeats: int,
        random_state: int | None,
        many_rows: bool = False,
    ) -> Plan:
        """Create a plan. It makes the folds of every repeat.

        Parameters
        ----------
        data : Dataset
        heads : mapping of name to str or scikit-learn classifier
            Result of `named_heads`.
        params, tune, scoring, cv, split, repeats, random_state
            See `tlfeatures.benchmark`.
        many_rows : bool
            See `make_heads`.

        Raises
        ------
        DatasetError
            If the images can't be divided into these folds.
        ParameterError
            If a split or score is unknown, no head has a parameter in the form for so many rows,
            or there are several repeats and these folds can't be repeated.
        """
        random_state = as_seed(random_state)
        scoring = [name for text in as_list(scoring) for name in text.split(",")]
        check_scoring(scoring, data.classes)
        chosen, folds = _folds(data, cv, split, repeats, random_state)
        scorer = scorer_of(data, folds[0], random_state)
        report_missing_params(heads, params, many_rows=many_rows)
        given = params or {}
        return cls(heads, given, tune, scoring, chosen, folds, random_state, scorer, many_rows)

    @property
    def ranked_by(self) -> str:
        """Name of the score that ranks the heads."""
        return self.scoring[0] if self.scoring else "accuracy"

    def seed(self, repeat: int) -> int | None:
        """Return the seed of a repeat."""
        return None if self.random_state is None else self.random_state + repeat

    def classifiers(self, repeat: int = 0) -> dict[str, BaseEstimator]:
        """Create the heads of a repeat."""
        return make_heads(
            self.heads, self.params, random_state=self.seed(repeat), many_rows=self.many_rows
        )

    def grid(self, name: str) -> Grid:
        """Return the parameter values that tuning tries for a head; empty without tuning."""
        if not self.tune:
            return {}
        grid = head_grid(self.heads[name], self.params)
        return grid_after_coordinates(self.classifiers()[name], grid)

    def count_folds(self, datasets: int) -> int:
        """Return the number of folds that are fitted, including the inner folds of tuning."""
        return datasets * len(self.folds) * len(self.folds[0]) * (1 + INNER_CV * self.tune)


def _folds(
    data: Dataset, cv: Folding | None, split: str, repeats: int, seed: int | None
) -> tuple[str, list[list[Fold]]]:
    """Return the name of the split and the folds of each repeat."""
    if not isinstance(repeats, numbers.Integral) or repeats < 1:
        raise ParameterError(f"repeats must be a whole number of 1 or more, got {repeats!r}")
    chosen, first = make_folds(data, cv=cv, split=split, random_state=seed)
    if repeats > 1 and chosen != "cv":
        raise ParameterError(
            f"{repeats} repeats need cross-validation, because the {chosen} split is always the "
            "same: use --split cv or --repeats 1"
        )
    if repeats > 1 and not (cv is None or isinstance(cv, numbers.Integral)):
        raise ParameterError(
            f"{repeats} repeats need a number of folds as cv, got "
            f"{cv if isinstance(cv, str) else type(cv).__name__}, which would give the same folds "
            "again: use --repeats 1"
        )
    seeds = (None if seed is None else seed + repeat for repeat in range(1, repeats))
    further = (make_folds(data, cv=cv, split=split, random_state=seed_)[1] for seed_ in seeds)
    return chosen, [first, *further]
