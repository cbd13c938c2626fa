"""Commands of a fitted model: predict, evaluate, export, info."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlfeatures.cli.image_options import (
    batch_size_option,
    device_option,
    max_pixels_option,
    weights_option,
)
from tlfeatures.cli.label_options import (
    columns_option,
    dataset_options,
    folder_option,
    images_option,
)
from tlfeatures.cli.number_types import Share
from tlfeatures.cli.run_options import check_page, command, json_option, seed_option
from tlfeatures.errors import ParameterError
from tlfeatures.terminal.exits import SOME_UNREADABLE, exit_for_failures
from tlfeatures.terminal.model_text import render_evaluation, render_export, render_info
from tlfeatures.terminal.prediction_output import PredictionOutput
from tlfeatures.terminal.progress import ProgressBar, WaitingLine
from tlfeatures.terminal.streams import paths_from_stdin, print_result

if TYPE_CHECKING:
    from tlfeatures.features.images.inputs import Images
    from tlfeatures.models.model import Model
    from tlfeatures.models.predictions import Prediction


@command()
@click.argument("model", type=click.Path())
@click.argument("images", nargs=-1, required=True, type=click.Path())
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FILE.csv|tsv|jsonl",
    help="File for the labels, which are otherwise printed. A name ending in .jsonl gives one JSON "
    "object per line.",
)
@click.option(
    "--excel",
    type=click.Choice(["comma", "semicolon"]),
    help="Write FILE.csv so that Excel opens it by a double click. comma is for Excel in English. "
    "semicolon is for Excel in German, French, Spanish and other languages that write 0,5: the "
    "numbers have a decimal comma, and semicolons are between the columns.",
)
@click.option(
    "--report",
    type=click.Path(),
    metavar="LABELS.html",
    help="Also write a page that shows the images with their labels, the least confident first. It "
    "opens in any browser, also offline.",
)
@click.option(
    "--min-confidence",
    type=Share(),
    default=0,
    show_default=True,
    metavar="P",
    help="Leave the label of an image empty if its confidence is below P.",
)
@click.option(
    "--outliers",
    is_flag=True,
    help="Add the columns outlier (yes or no) and distance. An outlier is unlike the images that "
    "the model was fitted on, so that its label means little. Its distance to them is above 1, "
    "which is the model's limit.",
)
@click.option(
    "--coverage",
    type=Share(),
    metavar="C",
    help="Add the column label_set: a set of labels, separated by |. Of 100 images like the "
    "training images, the sets of about 95 hold the right label if C is 0.95. An easy image has "
    "one label, a difficult image more. C = 0.95 needs at least 19 tested images or groups.",
)
@folder_option("IMAGES", "folder")
@columns_option
@weights_option
@batch_size_option
@max_pixels_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object per line.")
@click.pass_context
def predict(
    ctx: click.Context,
    /,
    model: str,
    images: tuple[str, ...],
    output: str | None,
    excel: str | None,
    report: str | None,
    as_json: bool,
    outliers: bool,
    coverage: float | None,
    columns: dict[str, str] | None,
    folder: str | None,
    **options: Any,
) -> None:
    """Label images with MODEL and print a CSV table.

    MODEL is a file of `tlfeatures fit -o MODEL`. The table has one row for each image: its path,
    its label, the confidence, which is the probability of the label, and the probability p_CLASS of
    each class. With -o, the table is written to a file. A summary is printed in the end.

    IMAGES are files, folders, tables with the paths of images, or other sources of images
    (docs/sources.md). Of a table with boxes, each box is labelled. With a single -, the command
    reads paths of image files from standard input, one per line, and prints one line for each path
    as soon as it can. In this way, another program can keep the command running. The header of the
    table is printed once the model is loaded.

    Instead of IMAGES, one file of features can be given: a file that `tlfeatures import` reads, or
    an embeddings file (FILE.h5) that was made with the settings of MODEL. A model that was fitted
    on imported embeddings can label features only.
    """
    if "-" in images and images != _STREAM:
        raise ParameterError("- reads paths from standard input: give no other images with it")
    result = PredictionOutput(output, as_json, excel)
    check_page(report)
    result.check_other_file(report)
    with WaitingLine():
        from tlfeatures.models.feature_input import features_file
        from tlfeatures.models.model import Model

        loaded = Model.load(model)
    features = None if images == _STREAM else features_file(loaded, images)
    inputs = _inputs_of(images, features, folder, columns)
    options["coverage"] = coverage
    options["outliers"] = outliers or (report is not None and loaded.outliers is not None)
    note = {"weights": "random"} if loaded.weights == "random" else {}
    written = result.write(
        _label(loaded, inputs, features, columns, options, with_bar=not result.fills_screen),
        loaded.classes,
        note,
        outliers=outliers,
        sets=coverage is not None,
        immediately=images == _STREAM,
    )
    with closing(written):
        if report is None:
            for _ in written:
                pass
        else:
            shown = None if images == _STREAM else inputs
            _write_label_page(written, report, loaded, Path(model).name, shown)
    if result.finish():
        ctx.exit(SOME_UNREADABLE)


_STREAM = ("-",)


def _inputs_of(
    images: tuple[str, ...],
    features: Path | None,
    folder: str | None,
    columns: dict[str, str] | None,
) -> Images:
    """Return the images; with options of tables, they are tables."""
    from tlfeatures.models.input_images import as_tables

    if images == _STREAM and (folder is not None or columns):
        raise ParameterError("--images and --columns are for tables, not for a stream")
    if features is None:
        return as_tables(images, folder, columns)
    if folder is not None:
        raise ParameterError(f"{features} has features; leave --images out")
    return images


def _label(
    model: Model,
    images: Images,
    features: Path | None,
    columns: dict[str, str] | None,
    options: dict[str, Any],
    *,
    with_bar: bool,
) -> Iterable[Prediction]:
    """Label images, those of standard input, or features."""
    if features is not None:
        chosen = {name: options[name] for name in ("min_confidence", "outliers", "coverage")}
        with WaitingLine():
            return model.predict_features(features, columns=columns, **chosen)
    if images == _STREAM:
        return model.predict_stream(paths_from_stdin(), **options)
    if not with_bar:
        return model.iter_predict(images, progress=False, **options)
    bar = ProgressBar("predicting")
    return _and_close(bar, model.iter_predict(images, progress=bar.show, **options))


def _and_close(bar: ProgressBar, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    """Finish the line of the bar when the predictions end, before anything else is printed."""
    with bar:
        yield from predictions


def _write_label_page(
    predictions: Iterable[Prediction],
    page: str,
    model: Model,
    name: str,
    inputs: Images | None,
) -> None:
    with ProgressBar("pictures") as bar:
        from tlfeatures.reports.report_labels import report_labels

        report_labels(
            predictions, page, model=model, inputs=inputs, model_name=name, progress=bar.show
        )


@command()
@click.argument("model", type=click.Path())
@click.argument("source", nargs=-1, required=True, type=click.Path())
@images_option
@dataset_options
@weights_option
@batch_size_option
@max_pixels_option
@device_option
@seed_option("the resampling behind the intervals")
@json_option
@click.pass_context
def evaluate(
    ctx: click.Context, /, model: str, source: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Test MODEL on labelled images that it was not fitted on.

    MODEL is a file of `tlfeatures fit -o MODEL`. SOURCE is a folder with one subfolder per class, a
    table or an archive, as for `tlfeatures extract`, or a file FILE.h5 of that command. Images that
    the model was fitted on are left out and counted; they are recognised by the content of their
    files (sha256). Near-duplicates of them, for example resized copies, are left out and named,
    too; `--near-duplicates off` tests them.

    The command prints each score with its 95 % interval, which shows how far chance may have moved
    the score, and the confusion matrix: how many images of each class were predicted as each class.
    """
    with ProgressBar() as bar:
        from tlfeatures.models.evaluate import evaluate

        given = source if len(source) > 1 else source[0]
        result = evaluate(model, given, progress=bar.show, **options)
    print_result(json.dumps(result.to_dict()) if as_json else render_evaluation(result))
    exit_for_failures(ctx, ((item["id"], item["reason"]) for item in result.failed))


@command()
@click.argument("model", type=click.Path())
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(),
    metavar="FILE.onnx",
    help="File to create.",
)
@weights_option
@click.option(
    "--check",
    multiple=True,
    type=click.Path(),
    metavar="IMAGES",
    help="Image or folder. Label these images both with the ONNX file and with MODEL, and compare "
    "the probabilities and the speed. Repeatable.",
)
@json_option
@click.pass_context
def export(
    ctx: click.Context,
    /,
    model: str,
    output: str,
    weights: str | None,
    check: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write MODEL as an ONNX file for other programs.

    ONNX is a common format of neural networks. The file contains all steps from pixels to
    probabilities. Its input is an array of RGB images, uint8 numbers of shape (n, height, width,
    3). Its outputs are the probabilities and the labels, without the sets of labels of `predict
    --coverage`. Writing the file needs `pip install
    'tlfeatures[onnx]'`. Using the file needs ONNX Runtime only.
    """
    with WaitingLine():
        from tlfeatures.models.export.export import export

        result = export(model, output, weights=weights, check=check or None)
    print_result(json.dumps(result.to_dict()) if as_json else render_export(result))
    if result.check is not None:
        exit_for_failures(ctx, result.check.failed.items())


@command()
@click.argument("file", type=click.Path(), metavar="FILE.h5|MODEL")
@json_option
def info(file: str, as_json: bool) -> None:
    """Describe an embeddings file or a model file.

    The command prints classes, settings, scores and versions. It executes nothing in the file.
    """
    from tlfeatures.models.describe import describe

    facts = describe(file)
    print_result(json.dumps(facts) if as_json else render_info(facts))
