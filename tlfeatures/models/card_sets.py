"""The part of the model card that describes prediction sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tlfeatures.metrics.conformal import LEVEL, units_needed
from tlfeatures.models.markdown import escaped, table_lines
from tlfeatures.models.prediction_sets import possible_coverage
from tlfeatures.names import percent

Facts = Mapping[str, Any]


def set_lines(facts: Facts) -> Iterator[str]:
    """Say how often sets of labels hold the right one, and how large they are for each class."""
    sets = facts.get("sets")
    if sets is None:
        yield "The model gives no sets of labels, because it was not tested when it was fitted."
        return
    grouped = sets["units"] < sets["images"]
    like = "images of new groups" if grouped else "images like these"
    if sets["units"] < units_needed(LEVEL):
        yield _too_few(sets["units"], "groups of images" if grouped else "images")
        return
    yield (
        f"`predict --coverage {LEVEL}` gives a set of labels for each image. Of 100 {like}, about "
        f"{100 * LEVEL:.0f} sets hold the right label. The label of the image is always in its set."
    )
    yield ""
    measured = sets["measured"]
    if measured is None:
        yield "Coverage and size of the sets were not measured, because there were too few images."
    else:
        yield (
            f"Coverage of {measured['coverage']:.3f} and {measured['mean_size']:.2f} labels on "
            f"average were measured in the cross-validation at this level, with thresholds from "
            f"other images. {percent(measured['single'])} of the sets have one label."
        )
        yield ""
        yield from table_lines(
            ["class", "images", "coverage", "labels of a set"],
            [
                [escaped(name), row["images"], f"{row['coverage']:.3f}", f"{row['mean_size']:.2f}"]
                for name, row in measured["by_class"].items()
            ],
        )
        yield ""
        yield "The coverage holds for all images together. A single class may have another one."


def _too_few(units: int, what: str) -> str:
    return (
        f"`predict --coverage {possible_coverage(units)}` gives a set of labels for each image. A "
        f"larger coverage is not possible, because the model was tested on {units:,} {what}: a "
        f"coverage of {LEVEL} needs at least {units_needed(LEVEL)}."
    )
