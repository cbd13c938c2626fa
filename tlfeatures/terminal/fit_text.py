"""The result of `fit` as text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlfeatures.names import missing_lines, number, percent
from tlfeatures.terminal.controls_text import controls_lines
from tlfeatures.terminal.ranking_text import ranking_lines, verdict_lines
from tlfeatures.terminal.shared_lines import (
    RANDOM_WEIGHTS,
    averages_line,
    images_line,
    trained_on,
    validation,
)
from tlfeatures.terminal.tables import filled, score_words, table

if TYPE_CHECKING:
    from tlfeatures.benchmarking.comparison import Rank
    from tlfeatures.benchmarking.entries import Entry
    from tlfeatures.benchmarking.fit_result import FitResult


def render_fit(result: FitResult) -> str:
    """The ranked heads, the folds of a single head, the verdict, and the saved model."""
    study, data, ranking = result.benchmark.study.facts, result.data, result.ranking
    how = validation(study["split"], study["folds"], study["groups"], study["copies"])
    how += ", tuned inside each fold" if any(rank.tuned for rank in ranking) else ""
    how += trained_on(data.n_variants)
    lines = [images_line(study["images"], study["classes"])]
    lines.append(f"{data.embedding} of {data.file}; {how} ({study['tested']:,} images tested)")
    if study["weights"] == "random":
        lines.append(RANDOM_WEIGHTS)
    if result.test_split_unused:
        lines.append(
            "the images of test/ were not used for the scores; `--split test` tests on them"
        )
    entries = {rank.label: result.benchmark.entries_of(rank)[0] for rank in ranking}
    if result.tested_classes < len(study["classes"]):
        lines.append(averages_line(result.tested_classes, len(study["classes"])))
    lines += ["", *ranking_lines(result.benchmark.comparison)]
    tuned = [_chosen(label, entry) for label, entry in entries.items() if entry.facts["chosen"]]
    lines += ["\nparameters that --tune chose in each fold", *tuned] if tuned else []
    if study["folds"] > 1:
        if len(ranking) > 1:
            lines.append("\nTo see the scores of each fold, use --json or name one head.")
        else:
            lines += [f"\n{_folds(ranking[0])}", *missing_lines(_missing_in_folds(ranking[0]))]
    lines += controls_lines(result.benchmark.comparison)
    lines += ["", *verdict_lines(result.benchmark.comparison)]
    if result.operating_point is not None:
        point = result.operating_point
        lines += ["", *map(filled, point.short_sentences(study["classes"]))]
    if result.model_file is None:
        lines.append("\nNo model was saved; -o MODEL saves the best head.")
    else:
        lines.append(_refitted(result, result.model_file))
        if result.probabilities is not None:
            lines.append(result.probabilities.line)
        lines += _sets_lines(result)
    return "\n".join(lines)


def _refitted(result: FitResult, model: str) -> str:
    """Say what the saved model was fitted on; this includes the split that it was scored on."""
    splits = f", {' and '.join(result.included)} included," if result.included else ""
    best, images = result.ranking[0].head, result.benchmark.study.facts["images"]
    fitted = f"{best} was fitted again to all {images:,} images{splits}"
    return (
        f"\n{fitted} and saved: {model}\ndescription of the model (model card): {_card_of(model)}"
    )


def _sets_lines(result: FitResult) -> Iterator[str]:
    """Say how large the prediction sets of the saved model are, or how large a coverage can be."""
    sets = None if result.model is None else result.model.sets
    if sets is None:
        return
    measured = sets.measured
    if measured is None or sets.thresholds.at(measured["level"]) is None:
        yield f"prediction sets: too few images or groups for more than --coverage {sets.possible}"
        return
    yield (
        f"prediction sets (`predict --coverage`): at {100 * measured['level']:g} % coverage, sets "
        f"have {measured['mean_size']:.2f} labels on average; {percent(measured['single'])} have "
        "one label"
    )


def _card_of(model: str) -> str:
    """Give the path of the model's card; if the model is a link, it lies next to its target."""
    from tlfeatures.models.card import card_path

    return str(card_path(model)) if Path(model).is_symlink() else f"{model}.md"


def _chosen(label: str, entry: Entry) -> str:
    """Give the parameters that tuning chose in each fold."""
    points = entry.facts["chosen"]
    values = (f"{name} {', '.join(_value(point[name]) for point in points)}" for name in points[0])
    return f"{label}: {'; '.join(values)}"


def _value(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if is_number else str(value)


def _missing_in_folds(rank: Rank) -> Iterator[tuple[str, str, str | None]]:
    """Give head, score and reason of each score that a fold doesn't define."""
    for name, record in rank.scores.items():
        if record["mean"] is None and record["score"] is not None:
            yield rank.label, f"{score_words(name)} of folds", record["folds_reason"]


def _folds(rank: Rank) -> str:
    rows = [
        [score_words(name), *(number(value) for value in record["folds"])]
        for name, record in rank.scores.items()
    ]
    count = max(len(record["folds"]) for record in rank.scores.values())
    return table(["fold", *map(str, range(1, count + 1))], rows)
