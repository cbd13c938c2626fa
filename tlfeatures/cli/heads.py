"""Commands from an embeddings file to an answer: fit, benchmark, audit, learning-curve, demo."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from tlfeatures.cli.head_options import (
    KINDS_OF_HEADS,
    ONE_HEAD,
    OWN_HEAD,
    folds_option,
    folds_or_groups_option,
    head_options,
    heads_option,
    params_option,
    point_options,
    random_state_option,
    sample_option,
)
from tlfeatures.cli.label_options import dataset_options, embedding_option, variants_option
from tlfeatures.cli.number_types import WholeNumber
from tlfeatures.cli.run_options import (
    check_page,
    cluster_options,
    command,
    json_option,
    n_jobs_option,
    pop_cluster,
    report_option,
)
from tlfeatures.errors import ParameterError
from tlfeatures.terminal.audit_text import render_audit
from tlfeatures.terminal.benchmark_text import render_benchmark
from tlfeatures.terminal.embeddings_text import render_extraction
from tlfeatures.terminal.exits import COMMAND_LINE
from tlfeatures.terminal.fit_text import render_fit
from tlfeatures.terminal.learning_curve_text import render_learning_curve
from tlfeatures.terminal.progress import ProgressBar, ProgressBars
from tlfeatures.terminal.report_text import render_report
from tlfeatures.terminal.streams import print_message, print_result

if TYPE_CHECKING:
    from tlfeatures.benchmarking.benchmark_result import Benchmark
    from tlfeatures.benchmarking.fit_result import FitResult


_files_argument = click.argument(
    "files", nargs=-1, required=True, type=click.Path(), metavar="FILE.h5..."
)


def _write_page(result: Benchmark | FitResult, page: str, n_jobs: int | None) -> None:
    with ProgressBars() as bars:
        from tlfeatures.reports.report import report

        written = report(result, page, n_jobs=n_jobs, progress=bars.show)
    print_message(render_report(written))


@command()
@_files_argument
@heads_option("--head", "--heads", "logreg")
@embedding_option
@variants_option
@dataset_options
@head_options
@point_options
@n_jobs_option(1)
@cluster_options
@click.option(
    "-o",
    "--output",
    "model",
    type=click.Path(),
    metavar="MODEL",
    help="File for the model: the best head, fitted again to all images. A description is written "
    "to MODEL.md.",
)
@report_option
@json_option
@click.pass_context
def fit(
    ctx: click.Context,
    /,
    files: tuple[str, ...],
    heads: tuple[str, ...],
    params: tuple[str, ...],
    report: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Fit heads (classifiers) and save the best one.

    A head is fitted (trained) on the embeddings in FILE.h5: the vectors of numbers that `extract`
    computed from the images. Each head is tested on images that it was not trained on. The command
    prints a table that ranks the heads by accuracy, or by the first --scoring, and then a verdict.
    Each score has a 95 % interval, which shows how far chance may have moved the score. With -o,
    the best head is fitted again to all images and saved to MODEL. With --at, MODEL labels images
    at an operating point: a threshold on the probability of one class, for example to miss few
    images of it.

    The labels are the names of the images' folders, or come from --labels. Several files are
    joined, for example files of two backbones: --embedding names a part of each.
    """
    check_page(report)
    options |= pop_cluster(options)
    line = ctx.meta[COMMAND_LINE]
    with ProgressBar("folds", "folds/s") as bar:
        from tlfeatures.benchmarking.fit import fit
        from tlfeatures.heads.parameters import parse_params

        result = fit(
            files, heads, params=parse_params(params), command=line, progress=bar.show, **options
        )
    print_result(json.dumps(result.to_dict()) if as_json else render_fit(result))
    if report is not None:
        _write_page(result, report, options["n_jobs"])


@command()
@_files_argument
@heads_option("--heads", "--head", "all")
@click.option(
    "--embeddings",
    "--embedding",
    "embeddings",
    multiple=True,
    default=["all"],
    show_default=True,
    metavar="LAYER.POOLING|A+B|all",
    help="Embedding to compare, by its layer and pooling, for example block5_pool.avg. A+B joins "
    "several embeddings into one vector; each is scaled to length 1. FIRST.h5:A+SECOND.h5:B joins "
    "embeddings of two files. `tlfeatures info FILE.h5` lists the embeddings. Repeatable.",
)
@variants_option
@dataset_options
@head_options
@click.option(
    "--repeats",
    type=WholeNumber(min=1),
    metavar="N",
    default=1,
    show_default=True,
    help="Number of cross-validations. Each one divides the images into other folds. With more "
    "repeats, smaller differences between heads become significant.",
)
@n_jobs_option(-1)
@cluster_options
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(),
    metavar="DIR",
    help="Folder for the results: results.json and a file for each head, embedding and repeat. "
    "Results that are already in the folder are not computed again, so that an interrupted "
    "benchmark can be continued. `tlfeatures predictions DIR` writes the predictions as a table.",
)
@report_option
@json_option
@click.pass_context
def benchmark(
    ctx: click.Context,
    /,
    files: tuple[str, ...],
    params: tuple[str, ...],
    report: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare heads, embeddings and backbones.

    A head is a classifier. An embedding is the vector of numbers that `extract` computed from an
    image. Every head is fitted (trained) on every embedding of the files and tested on the same
    images. The command prints a table that ranks them, and then a verdict. Each score has a 95 %
    interval, which shows how far chance may have moved the score. A * marks the best head and the
    heads that are not significantly different from it. If the files have several backbones (the
    networks that computed the embeddings), the verdict compares the backbones, too.
    """
    check_page(report)
    options |= pop_cluster(options)
    with ProgressBar("folds", "folds/s") as bar:
        from tlfeatures.benchmarking.run import benchmark
        from tlfeatures.heads.parameters import parse_params

        result = benchmark(
            files,
            params=parse_params(params),
            command=ctx.meta[COMMAND_LINE],
            progress=bar.show,
            **options,
        )
    print_result(json.dumps(result.to_dict()) if as_json else render_benchmark(result))
    if report is not None:
        _write_page(result, report, options["n_jobs"])


@command()
@_files_argument
@embedding_option
@dataset_options
@click.option(
    "--head",
    metavar=ONE_HEAD,
    help=f"Head (classifier) that judges the labels. {OWN_HEAD}  [default: rbf-svm, or lda with "
    "more than 100 classes]",
)
@folds_option
@sample_option
@n_jobs_option(1)
@random_state_option
@click.option(
    "--top",
    type=WholeNumber(min=0),
    metavar="N",
    default=20,
    show_default=True,
    help="Number of findings to print, the worst first.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FILE.csv|FILE.json",
    help="File for all findings, as a CSV table or as JSON.",
)
@json_option
def audit(files: tuple[str, ...], top: int, as_json: bool, **options: Any) -> None:
    """Find probable label errors, copies and outliers.

    The command prints a table of images of FILE.h5 that probably have a problem, the worst first.
    It finds four kinds of problems:

    \b
      near-duplicate  the same or nearly the same photograph in two classes,
                      or in two splits (train, val, test)
      unreadable      an image that can't be read
      label           a label that is probably wrong: a head that was trained
                      on other images is confident of another class
                      (confident learning)
      outlier         an image that is unlike all others

    The command changes none of the images and labels.
    """  # noqa: D301
    with ProgressBar("folds", "folds/s") as bar:
        from tlfeatures.model_selection.audit.audit import audit

        result = audit(files, progress=bar.show, **options)
    print_result(json.dumps(result.to_dict()) if as_json else render_audit(result, top))


def _sizes(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
    """Parse numbers with commas between them."""
    if value is None:
        return None
    try:
        return [int(size) for size in value.split(",")]
    except ValueError:
        raise ParameterError(f"--sizes is {value!r}; expected numbers, as in 5,10,20") from None


@command("learning-curve")
@_files_argument
@click.option(
    "--head",
    metavar=ONE_HEAD,
    default="logreg",
    show_default=True,
    help=f"Head (classifier) to fit. {KINDS_OF_HEADS} {OWN_HEAD}",
)
@embedding_option
@variants_option
@dataset_options
@click.option(
    "--sizes",
    callback=_sizes,
    metavar="N,N,...",
    help="Numbers of training images per class at which the accuracy is measured, for example "
    "5,10,20. The accuracy with all training images is always measured, too.  [default: several, "
    "from about 5]",
)
@folds_or_groups_option
@params_option
@sample_option
@n_jobs_option(-1)
@random_state_option
@json_option
def learning_curve(
    files: tuple[str, ...], params: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Estimate whether more images would raise the accuracy.

    The command fits a head to parts of the images of FILE.h5, from small to large, and prints the
    accuracy on images that the head was not trained on. It then forecasts the accuracy with two and
    four times the images. It prints the forecast only if the same method passes a check: a curve
    fitted to half of the images has to predict the accuracy with all of them.
    """
    with ProgressBar("fits", "fits/s") as bar:
        from tlfeatures.heads.parameters import parse_params
        from tlfeatures.model_selection.learning_curve.measure import learning_curve

        curve = learning_curve(files, params=parse_params(params), progress=bar.show, **options)
    print_result(json.dumps(curve.to_dict()) if as_json else render_learning_curve(curve))


@command()
@click.option(
    "--out",
    type=click.Path(),
    default="tlfeatures-demo",
    show_default=True,
    metavar="DIR",
    help="Folder for the images, the embeddings file and the model.",
)
@json_option
def demo(out: str, as_json: bool) -> None:
    """Try all steps on small images of handwritten digits.

    The command writes the images into DIR, computes their embeddings (vectors of numbers), compares
    three heads (classifiers) and saves the best one. The digits come with scikit-learn.
    """
    from tlfeatures.terminal.demo import PER_CLASS, run_demo

    images = 10 * PER_CLASS
    print_message(f"{images} handwritten digits, 10 classes. The first run may download weights.")
    with ProgressBar() as bar:
        extraction, result = run_demo(out, progress=bar.show)
    if as_json:
        print_result(json.dumps({"extract": extraction.to_dict(), "fit": result.to_dict()}))
    else:
        print_result(f"{render_extraction(extraction)}\n\n{render_fit(result)}")
