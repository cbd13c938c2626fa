"""Cautions of the verdict: controls that the best head does not beat."""

from __future__ import annotations

from tlfeatures.benchmarking.comparison import Comparison
from tlfeatures.benchmarking.control import COLOURS, FILE, PERMUTED, Control
from tlfeatures.names import all_of


def cautions(comparison: Comparison) -> list[str]:
    """Say which controls are not beaten. The sentences come before the headline.

    A control is named if it is itself surely better than always predicting the largest class. If
    the best head isn't surely better than that, the headline says so, and only classes that their
    files tell apart are named.

    Parameters
    ----------
    comparison : Comparison
        The ranking with its controls, without a verdict.
    """
    lines = []
    by_name = {control.name: control for control in comparison.controls}
    for control in (by_name[name] for name in _SENTENCES if name in by_name):
        if control.classes:
            lines.append(_told_apart(control))
        elif not control.beaten and _is_informative(control, comparison):
            lines.append(_not_beaten(control, comparison))
    return lines


def _is_informative(control: Control, comparison: Comparison) -> bool:
    """Whether a control says more than the headline: both it and the best head beat guessing.

    With few groups, there are no intervals. A control is then named if it is as good as the head.
    """
    guessing = comparison.largest_class.share
    if control.interval is None:
        head = comparison.ranking[0].scores["accuracy"]["score"]
        if control.name == PERMUTED or control.score is None or head is None:
            return False
        return control.score >= head > guessing
    if control.name == PERMUTED:
        return control.is_surely_above(guessing)
    is_better = comparison.is_surely_better(comparison.ranking[0])
    return is_better and control.interval[0] > guessing


def _told_apart(control: Control) -> str:
    several = len(control.classes) > 1
    files = f"the files of {all_of(control.classes, 3)}"
    differ = "differ" if several else "differ from the files of the other classes"
    evidence = "; ".join(dict.fromkeys(control.evidence[:3]))
    return (
        f"Caution: {files} {differ}, whatever the images show: {evidence}; the images were "
        "probably made in different ways, and the heads may have learned that instead of their "
        "content."
    )


def _not_beaten(control: Control, comparison: Comparison) -> str:
    score = f"{100 * (control.score or 0):.1f} %"
    first = comparison.ranking[0]
    corrected = comparison.corrected("accuracy")
    own = first.scores["accuracy"]["score"] if corrected is None else corrected.score
    head = comparison.name_of(first) + ("" if own is None else f" ({100 * own:.1f} %)")
    return _SENTENCES[control.name].format(score=score, head=head)


_SENTENCES = {  # the most serious first
    FILE: (
        "Caution: the size, width and height of the files alone, without looking at the images, "
        "tell the classes with an accuracy of {score}, and {head} is not surely better; the images "
        "of the classes may have been made in different ways, and the heads may have learned that."
    ),
    PERMUTED: (
        "Caution: a head that was trained on shuffled labels has an accuracy of {score}, although "
        "it can only guess; training images and tested images probably have something in common "
        "that they should not have, so the scores are too good."
    ),
    COLOURS: (
        "Caution: colours alone, without shapes, tell the classes with an accuracy of {score}, and "
        "{head} is not surely better; if the colours come from the light or the background, the "
        "heads may have learned that."
    ),
}
