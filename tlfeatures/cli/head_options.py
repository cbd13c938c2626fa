"""Options of heads and of how they are scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tlfeatures.cli.number_types import AnyWholeNumber, WholeNumber
from tlfeatures.cli.run_options import Function, combine, seed_option

ONE_HEAD = "logreg|linear-svm|rbf-svm|gradient-boosting|knn|centroid|ridge|lda|mlp|dummy"
KINDS_OF_HEADS = (
    "logreg is logistic regression, knn compares with the nearest images, centroid with the mean "
    "of each class, lda is linear discriminant analysis, mlp a small neural network. dummy always "
    "predicts the most frequent class; other heads must be better."
)
OWN_HEAD = (
    "For a classifier of your own, give module:Class, a Python class with the methods of a "
    "scikit-learn classifier."
)

random_state_option = seed_option("the folds and the heads")
params_option = click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a parameter of the heads, for example C=0.01 or class_weight=balanced. The names are "
    "those of scikit-learn; a wrong name prints all names of the head. Repeatable.",
)


class _Folds(click.ParamType):  # type: ignore[type-arg]
    """A number of folds, or leave-one-group-out."""

    name = "folds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        if value == _LEAVE_ONE_GROUP_OUT:
            return _LEAVE_ONE_GROUP_OUT
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is no number of folds and not {_LEAVE_ONE_GROUP_OUT}", param, ctx)


_MANY_ROWS = 20_000  # `tlfeatures.heads.forms.MANY_ROWS`; `--help` doesn't import it
_LEAVE_ONE_GROUP_OUT = "leave-one-group-out"  # `--help` doesn't import the library's constant
_BY_GROUPS = (
    f"With {_LEAVE_ONE_GROUP_OUT}, each group of --groups is a fold: it is tested by heads that "
    "are trained on the other groups."
)
_CROSS_VALIDATION = (
    "Number of folds. The images are divided into N parts (folds). Each fold is tested once, by a "
    "head that is trained on the other folds (cross-validation)."
)
folds_option = click.option(
    "--cv", type=AnyWholeNumber(), metavar="N", default=5, show_default=True, help=_CROSS_VALIDATION
)
folds_or_groups_option = click.option(
    "--cv",
    type=_Folds(),
    metavar=f"N|{_LEAVE_ONE_GROUP_OUT}",
    default=5,
    show_default=True,
    help=f"{_CROSS_VALIDATION} {_BY_GROUPS}",
)


class _Sample(click.ParamType):  # type: ignore[type-arg]
    """A number of images, or all."""

    name = "sample"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        if value == "all":
            return None
        if not str(value).isdigit() or int(value) < 1:
            self.fail(f"{value!r} is no number of images and not all", param, ctx)
        return int(value)


sample_option = click.option(
    "--sample",
    type=_Sample(),
    metavar="N|all",
    default="5000",
    show_default=True,
    help="Approximate number of images that are used, because the work grows with the square of "
    "their number. Of more images, a random sample is drawn, in which each class has its share, "
    "but at least 10 images. It may be twice as large to keep groups and copies whole; of larger "
    "groups, it has a part of the images.",
)


def heads_option(first: str, second: str, default: str) -> Callable[[Function], Function]:
    """Create the option for one or several heads. It has two names, such as --head and --heads."""
    return click.option(
        first,
        second,
        "heads",
        multiple=True,
        default=[default],
        show_default=True,
        metavar=f"{ONE_HEAD}|all",
        help=f"Head (classifier) to fit; all fits every one. {KINDS_OF_HEADS} {OWN_HEAD} Give "
        "several with commas (logreg,knn), or repeat the option.",
    )


# Options of heads and of how they are scored.
head_options = combine(
    click.option(
        "--cv",
        type=_Folds(),
        metavar=f"N|{_LEAVE_ONE_GROUP_OUT}",
        help="Number of folds. The images are divided into N parts (folds), each with all "
        "classes. Each fold is tested once, by heads that are trained on the other folds "
        f"(cross-validation). {_BY_GROUPS} If you give --cv and not --split, the folders train/, "
        "val/ and test/ are not used as splits.  [default: 5]",
    ),
    click.option(
        "--split",
        type=click.Choice(["auto", "cv", "val", "test"]),
        default="auto",
        show_default=True,
        help="Images to test on. val: train on the folder train/ and test on val/. test: train "
        "on train/ and test on test/. cv: test all images by cross-validation, see --cv. auto: "
        "val if the images have this split, else test if they have it, else cv.",
    ),
    click.option(
        "--tune",
        is_flag=True,
        help="Choose the parameters of each head by trying several values. The choice uses only "
        "the training images of each fold, so that the scores stay fair. The command then takes "
        "longer.",
    ),
    click.option(
        "--scoring",
        multiple=True,
        metavar="NAME",
        help="Score that ranks the heads and that --tune optimises. accuracy is the share of "
        "correctly classified images; balanced_accuracy is the mean of this share over the "
        "classes; f1_macro also counts false alarms of each class; log_loss (less is better) and "
        "roc_auc judge the probabilities. Other scorer names of scikit-learn work, too. Repeat "
        "the option to show more scores; the first one ranks.  [default: accuracy]",
    ),
    params_option,
    click.option(
        "--scale-from",
        type=WholeNumber(min=0),
        metavar="N",
        default=_MANY_ROWS,
        show_default=True,
        help="Number of training rows (images and their variants) from which heads have their "
        "forms for many rows: rbf-svm approximates its kernel by 1,000 landmarks, linear-svm has "
        "the squared hinge loss, and the other heads are computed in blocks of rows with the same "
        "result. 0 always takes these forms. A number above that of your rows keeps the exact "
        "heads, whose time and memory grow with the square of the number of rows.",
    ),
    random_state_option,
)

# Options of an operating point.
point_options = combine(
    click.option(
        "--at",
        metavar="recall=R|precision=P|specificity=S|cost=A:B",
        help="Label an image with the class of --class if its probability is at least a threshold, "
        "and otherwise with the most probable other class. The threshold is chosen on images that "
        "the head was not trained on. recall=0.95: find 95 % of the images of the class, on "
        "average. precision=0.9: 90 % of the images labelled with the class are right. "
        "specificity=0.99: 99 % of the other images are not labelled with it. cost=10:1: a missed "
        "image of the class costs 10 times as much as a false alarm. The threshold is saved in "
        "MODEL, and predict, evaluate and export use it.",
    ),
    click.option(
        "--class",
        "positive",
        metavar="CLASS",
        help="Class of --at, for example bee.",
    ),
)
