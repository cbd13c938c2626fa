"""Options of heads and of how they are scored."""

from __future__ import annotations

from collections.abc import Callable

import click

from tlfeatures.cli.run_options import Function, combine, seed_option

ONE_HEAD = "logreg|linear-svm|rbf-svm|gradient-boosting|knn|centroid|ridge|lda|mlp|dummy"
OWN_HEAD = "module:Class is a classifier of your own, written as scikit-learn's are."

random_state_option = seed_option("division into folds, heads")
params_option = click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Parameter of the heads, as scikit-learn names it. Repeatable. Examples: C=0.01, "
    "class_weight=balanced.",
)
folds_option = click.option(
    "--cv",
    type=int,
    metavar="N",
    default=5,
    show_default=True,
    help="Number of folds: parts into which the images are divided. Each part is tested once, by "
    "a head that is trained on the others.",
)


def heads_option(first: str, second: str, default: str) -> Callable[[Function], Function]:
    """Give the option of several heads, with two spellings."""
    return click.option(
        first,
        second,
        "heads",
        multiple=True,
        default=[default],
        show_default=True,
        metavar=f"{ONE_HEAD}|all",
        help="Head (classifier) to fit. dummy always names the most frequent class: the others "
        f"must be better. {OWN_HEAD} Repeatable, also as a list with commas.",
    )


# Options of heads and of how they are scored.
head_options = combine(
    click.option(
        "--cv",
        type=int,
        metavar="N",
        help="Number of folds: parts into which the images are divided, with all classes in "
        "each. Each part is tested once, by heads that are trained on the others. With --split "
        "auto, it takes the place of the images' splits.  [default: 5]",
    ),
    click.option(
        "--split",
        type=click.Choice(["auto", "cv", "val", "test"]),
        default="auto",
        show_default=True,
        help="Images to test on. val and test train on the images of train/ and test on those "
        "of val/ or test/. cv is cross-validation of all images. auto is val, or test, if the "
        "images have such splits, else cv.",
    ),
    click.option(
        "--tune",
        is_flag=True,
        help="Choose the parameters of each head by trying several values. This happens inside "
        "the training images of each fold, so that the scores stay fair. It takes longer.",
    ),
    click.option(
        "--scoring",
        multiple=True,
        metavar="NAME",
        help="Score that ranks the heads and that --tune optimises: accuracy, "
        "balanced_accuracy, f1_macro, log_loss, roc_auc or another scorer of scikit-learn. "
        "Repeat it to show further scores; the first one ranks.  [default: accuracy]",
    ),
    params_option,
    random_state_option,
)
