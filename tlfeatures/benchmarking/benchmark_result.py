"""The result of a benchmark, and the function that reads it from a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.benchmarking.comparison import Comparison, Rank
from tlfeatures.benchmarking.entries import Entry, groups_of
from tlfeatures.benchmarking.predictions import predictions_table
from tlfeatures.benchmarking.probability_facts import probability_facts
from tlfeatures.benchmarking.ranking_html import ranking_parts
from tlfeatures.benchmarking.store.checks import (
    check_interval,
    check_items,
    check_kinds,
    check_scores,
    remedy,
)
from tlfeatures.benchmarking.store.format import CONTROL_FACTS, RESULTS
from tlfeatures.benchmarking.store.results_file import (
    check_folder,
    read_again_if_changed,
    read_entries_of,
    read_results,
    read_study_of,
    results_facts,
)
from tlfeatures.benchmarking.study import Study
from tlfeatures.data_frames import data_frame
from tlfeatures.errors import FormatError
from tlfeatures.html_tables import facts_html, result_html
from tlfeatures.metrics.group_scores import MOST_SHOWN, GroupScores
from tlfeatures.metrics.out_of_fold import OutOfFold
from tlfeatures.metrics.score_records import score_columns
from tlfeatures.models.probabilities import Probabilities
from tlfeatures.names import counted

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Benchmark:
    """The result of a benchmark.

    Attributes
    ----------
    study : Study
        The images, their classes and folds.
    entries : list of Entry
        One entry for each head, embedding and repeat. Entries of earlier runs in the same folder
        are included.
    comparison : Comparison
        The ranking, the tests against the best head, and the verdict.
    computed : int
        Number of entries that this run computed. The other entries come from the folder.
    out : str or None
        Folder of the results; None if they are in memory only.
    commands : list of str
        Command lines of the runs that computed the entries.
    """

    study: Study
    entries: list[Entry]
    comparison: Comparison
    computed: int
    out: str | None
    commands: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        """Describe it in one line; the arrays would fill the screen."""
        images = counted(self.study.facts["images"], "image")
        return f"<Benchmark: {images}, {self.comparison!r}>"

    def _repr_html_(self) -> str:
        """Show the verdict and the ranking in a notebook."""
        facts = self.study.facts
        shown = {
            "images": f"{facts['images']:,}, {facts['tested']:,} of them tested",
            "folder": self.out,
        }
        about = f"{counted(facts['images'], 'image')}, {counted(len(self.ranking), 'head')}"
        parts = ranking_parts(self.comparison)
        return result_html("Benchmark", *parts, facts_html(shown), about=about)

    @property
    def ranking(self) -> list[Rank]:
        """The heads with their scores, best first."""
        return self.comparison.ranking

    @property
    def verdict(self) -> list[str]:
        """What follows from the scores, in sentences."""
        return self.comparison.verdict

    def entries_of(self, rank: Rank) -> list[Entry]:
        """Return the entries of a rank, in the order of repeats."""
        by_key = {entry.facts["key"]: entry for entry in self.entries}
        return [by_key[key] for key in rank.keys]

    def predictions_of(self, rank: Rank | None = None) -> OutOfFold:
        """Return the out-of-fold predictions of a head, of the first repeat.

        Parameters
        ----------
        rank : Rank, optional
            A rank of `ranking`; by default the first, the best head.
        """
        first, *_ = self.entries_of(self.ranking[0] if rank is None else rank)
        return OutOfFold.of(self.study, first)

    def by_group(
        self, rank: Rank | None = None, *, most: int | None = MOST_SHOWN
    ) -> GroupScores | None:
        """Return the accuracies of a head on the groups of images, the worst first.

        Parameters
        ----------
        rank : Rank, optional
            A rank of `ranking`; by default the first, the best head.
        most : int or None
            Number of groups in the result, the worst; None for all.

        Returns
        -------
        GroupScores or None
            Means over repeats. None if the user gave no groups.
        """
        entries = self.entries_of(self.ranking[0] if rank is None else rank)
        return groups_of(entries, self.study, most=most)

    def probabilities_of(
        self, rank: Rank | None = None, *, saved_on: int | None = None
    ) -> Probabilities | None:
        """Return how the probabilities of a head are calibrated, and how good they are.

        Parameters
        ----------
        rank : Rank, optional
            A rank of `ranking`; by default the first, the best head.
        saved_on : int, optional
            Number of images that the saved head is fitted on.

        Returns
        -------
        Probabilities or None
            Of the first repeat. None if the head gives no probabilities. `predictions_of` and
            `tlfeatures.reports.diagnostics.reliability` give the whole reliability diagram.
        """
        rank = self.ranking[0] if rank is None else rank
        first, *_ = self.entries_of(rank)
        return probability_facts(rank, first, OutOfFold.of(self.study, first), saved_on)

    def together_of(self, rank: Rank | None = None) -> NDArray[np.int64] | None:
        """Return the group of each image of `predictions_of`; None if no two belong together."""
        first, *_ = self.entries_of(self.ranking[0] if rank is None else rank)
        together = self.study.together
        return None if together is None else together[first.fold >= 0]

    def to_frame(self) -> DataFrame:
        """Return a data frame with one row for each head of the ranking. It needs pandas.

        Returns
        -------
        DataFrame
            Columns `head` (as in the ranking), `embedding`, `standing`; for each score its value
            `SCORE`, the bounds `SCORE_low` and `SCORE_high` of its 95 % interval, and the standard
            deviation `SCORE_std` of the folds; `difference` to the best head with `difference_low`
            and `difference_high`, `p`, the probabilities `within` (within 1 percentage point of the
            best head) and `worse` (worse by more), `fit_seconds`, `tuned` and `repeats`. Scores are
            from 0 to 1 (`log_loss`: from 0). NaN where there is none. The scores are the heads'
            own; `comparison.chosen` has those of the best head, corrected for having been chosen.

        Raises
        ------
        ParameterError
            If pandas is not installed.
        """
        ranking = self.ranking
        bounds = [rank.difference_interval or (None, None) for rank in ranking]
        numbers = {
            "difference": [rank.difference for rank in ranking],
            "difference_low": [low for low, _ in bounds],
            "difference_high": [high for _, high in bounds],
            "p": [rank.p for rank in ranking],
            "within": [rank.within for rank in ranking],
            "worse": [rank.worse for rank in ranking],
            "fit_seconds": [rank.fit_seconds for rank in ranking],
        }
        return data_frame(
            {
                "head": [rank.label for rank in ranking],
                "embedding": [rank.embedding for rank in ranking],
                "standing": [rank.standing for rank in ranking],
                **score_columns([rank.scores for rank in ranking]),
                # NumPy turns None into NaN.
                **{name: np.array(column, np.float64) for name, column in numbers.items()},
                "tuned": [rank.tuned for rank in ranking],
                "repeats": [rank.repeats for rank in ranking],
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready plain data: the content of `results.json`."""
        return results_facts(self.study, self.commands, self.comparison.to_dict(), self.entries)

    def predictions_table(self) -> dict[str, NDArray[Any]]:
        """Return the out-of-fold predictions of all entries, for example for a data frame.

        Returns
        -------
        dict of name to ndarray
            The columns that `tlfeatures.benchmarking.predictions.prediction_columns` describes.
            They have one row for each tested image of each entry. `pandas.DataFrame` accepts them.
        """
        return predictions_table(self.study, self.entries)


def load_benchmark(folder: str | os.PathLike[str]) -> Benchmark:
    """Read the folder of a benchmark. The embeddings file is not needed.

    Parameters
    ----------
    folder : path
        Folder that `benchmark` has written.

    Returns
    -------
    Benchmark
        With the ranking of the last completed run.

    Raises
    ------
    ParameterError
        If there is no benchmark in the folder.
    FormatError
        If a file of the folder is damaged, or has another version of the format.
    """
    return load_with_predictions_of(folder, None)


def load_with_predictions_of(
    folder: str | os.PathLike[str], choose: Callable[[Comparison], Rank] | None
) -> Benchmark:
    """Read the folder of a benchmark, and keep the predictions of one rank only.

    All entries are read and checked, one at a time, but those of other ranks have empty arrays:
    with 1,000 classes, the predictions of a head may need hundreds of megabytes.

    Parameters
    ----------
    folder : path
    choose : callable (Comparison) or None
        Chooses the rank; None keeps the predictions of all ranks.

    Raises
    ------
    ParameterError, FormatError
        See `load_benchmark`.
    """
    path = check_folder(folder)

    def read(path: Path) -> Benchmark:
        stored = read_results(path)
        study = read_study_of(path, stored)
        comparison = _comparison(path, stored)
        kept = None if choose is None else choose(comparison).keys
        entries = [
            entry if kept is None or entry.facts["key"] in kept else entry.without_predictions()
            for entry in read_entries_of(path, stored, study)
        ]
        _check_entries(path, entries, comparison)
        return Benchmark(study, entries, comparison, 0, str(folder), stored["commands"])

    return read_again_if_changed(path, read)


def _comparison(path: Path, stored: Mapping[str, Any]) -> Comparison:
    """Return the ranking in `results.json`, after checks."""
    _check_ranking(path / RESULTS, stored)
    ranking = [{name: rank[name] for name in _RANK} for rank in stored["ranking"]]
    backbones = [{name: item[name] for name in _BACKBONE} for item in stored["backbones"]]
    chosen = {
        name: {fact: score[fact] for fact in _CHOSEN} for name, score in stored["chosen"].items()
    }
    groups = stored["group_scores"]
    if groups is not None:
        ends = {name: groups[name] and _of_group(groups[name]) for name in ("lowest", "highest")}
        known = {name: groups[name] for name in _GROUPS}
        groups = {**known, **ends, "worst": list(map(_of_group, groups["worst"]))}
    parts = {
        "ranking": ranking,
        "backbones": backbones,
        "chosen": chosen,
        "group_scores": groups,
        "controls": [{name: item[name] for name in CONTROL_FACTS} for item in stored["controls"]],
    }
    return Comparison.from_dict({**stored, **parts})


def _check_entries(path: Path, entries: Sequence[Entry], comparison: Comparison) -> None:
    held = {entry.facts["key"] for entry in entries}
    if not all(held.issuperset(rank.keys) for rank in comparison.ranking):
        raise FormatError(
            f"{path / RESULTS} is damaged: its ranking names entries that are missing; "
            f"{remedy(path / RESULTS)}"
        )


_RANKING: dict[str, Any] = {
    **{"ranking": list, "scoring": str, "verdict": list},
    "detectable": float | int | None,
    "largest_class": dict,
    "backbones": list,
    "chosen": dict,
    "group_scores": dict | None,
}
_CHOSEN: dict[str, Any] = {
    "scoring": str,
    **dict.fromkeys(("score", "own", "optimism"), float | int | None),
    "interval": list | None,
    "candidates": int,
    "reason": str | None,
}
_LARGEST: dict[str, Any] = {"label": str, "share": float | int, "units": int}
_RANK: dict[str, Any] = {
    **dict.fromkeys(("head", "embedding", "classifier", "label", "standing"), str),
    "reason": str | None,
    **dict.fromkeys(("params", "scores"), dict),
    **dict.fromkeys(("difference", "p", "within", "worse"), float | int | None),
    "difference_interval": list | None,
    **{"fit_seconds": float | int, "repeats": int, "keys": list},
    **dict.fromkeys(("best", "tuned"), bool),
}
_BACKBONE: dict[str, Any] = {
    **{"name": str, "place": int, "columns": int},
    "images_per_second": float | int | None,
}
_GROUPS: dict[str, Any] = {
    **{"count": int, "worst": list, "too_small": int, "small_names": list},
    **dict.fromkeys(("lowest", "highest"), dict | None),
}
_GROUP: dict[str, Any] = {
    **{"name": str, "images": int, "accuracy": float | int},
    "interval": list | None,
}


def _check_ranking(path: Path, stored: Mapping[str, Any]) -> None:
    """Raise a FormatError if a fact of the ranking is missing or has a wrong type."""
    check_kinds(path, stored, _RANKING)
    check_items(path, "verdict", stored["verdict"], str)
    check_kinds(path, stored["largest_class"], _LARGEST)
    for rank in stored["ranking"]:
        check_kinds(path, rank, _RANK)
        check_items(path, "keys", rank["keys"], str)
        check_scores(path, rank["scores"], (stored["scoring"], "accuracy"))
        intervals = [rank["difference_interval"]]
        intervals += [score["interval"] for score in rank["scores"].values()]
        for interval in intervals:
            check_interval(path, interval)
    check_kinds(path, stored["chosen"], dict.fromkeys((stored["scoring"], "accuracy"), dict))
    for chosen in stored["chosen"].values():
        check_kinds(path, chosen, _CHOSEN)
        check_interval(path, chosen["interval"])
    if stored["group_scores"] is not None:
        _check_groups(path, stored["group_scores"])
    for backbone in stored["backbones"]:
        check_kinds(path, backbone, _BACKBONE)
        if not 0 <= backbone["place"] < len(stored["ranking"]):
            raise FormatError(
                f"{path} is damaged: a backbone has no place in its ranking; {remedy(path)}"
            )
    if not stored["ranking"]:
        raise FormatError(f"{path} is damaged: its ranking is empty; {remedy(path)}")


def _of_group(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: group[name] for name in _GROUP}


def _check_groups(path: Path, groups: Any) -> None:
    check_kinds(path, groups, _GROUPS)
    check_items(path, "small_names", groups["small_names"], str)
    ends = (groups[name] for name in ("lowest", "highest") if groups[name] is not None)
    for group in [*groups["worst"], *ends]:
        check_kinds(path, group, _GROUP)
        check_interval(path, group["interval"])
    if not groups["worst"]:
        raise FormatError(f"{path} is damaged: it has groups without scores; {remedy(path)}")
