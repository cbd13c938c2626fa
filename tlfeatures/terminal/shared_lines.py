"""Lines that the texts of several commands share."""

from __future__ import annotations

from tlfeatures.names import counted, folds_in_words, some_of

RANDOM_WEIGHTS = "A backbone has RANDOM weights: it has learned nothing from ImageNet."

#: What decides how many images a sample has, and how to do without one.
SAMPLING = (
    "each class has its share, but at least 10 images or groups, and small groups are kept whole; "
    "--sample all: all images"
)

_SPLITS = {"val": "fitted on train, tested on val", "test": "fitted on train, tested on test"}


def images_line(count: int, classes: list[str]) -> str:
    """Give the numbers of images and classes, and the first classes."""
    return f"{count:,} images, {len(classes)} classes ({first_names(classes)})"


def first_names(names: list[str]) -> str:
    """Give at most six names."""
    return some_of(names, 6)


def validation(split: str, folds: int, groups: int | None, copies: int, repeats: int = 1) -> str:
    """Say which images trained the heads and which tested them, and what was kept together.

    Copies are kept together by cross-validation only. A given split may separate them; a warning
    has then said so before the heads were scored.
    """
    how = _SPLITS.get(split, folds_in_words(folds, groups))
    how += f", repeated {repeats:,} times" if repeats > 1 else ""
    how += f", {groups:,} groups kept together" if groups and groups != folds else ""
    how += (
        f", {counted(copies, 'pair')} of copies kept together" if copies and split == "cv" else ""
    )
    return how


def trained_on(variants: int) -> str:
    """Say that variants of the images were trained on, if there are any."""
    if not variants:
        return ""
    return f", also trained on {counted(variants, 'variant')} of each image"


def averages_line(tested: int, classes: int) -> str:
    """Say which classes the averages of scores are over."""
    return (
        f"{tested} of {classes} classes have tested images; balanced accuracy and macro F1 are "
        "averages over these classes"
    )
