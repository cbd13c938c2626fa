"""Commands that show a benchmark: report, plot, predictions."""

from __future__ import annotations

import json
from typing import Any

import click

from tlfeatures.cli.run_options import command, json_option, n_jobs_option
from tlfeatures.terminal.predictions_text import render_predictions
from tlfeatures.terminal.progress import ProgressBar, ProgressBars
from tlfeatures.terminal.report_text import render_report
from tlfeatures.terminal.streams import print_result

_shown_head = click.option(
    "--head",
    metavar="NAME",
    help="Head (classifier) to show in detail, by its name in the ranking.  [default: the best]",
)
_shown_embedding = click.option(
    "--embedding",
    metavar="LAYER.POOLING",
    help="Embedding to show in detail, as the ranking names it.  [default: the best]",
)
_map = click.option(
    "--map",
    type=click.Choice(["pca", "tsne"]),
    default="pca",
    show_default=True,
    help="How the map of the images is computed. pca shows the two directions in which the "
    "embeddings differ most. tsne places similar images next to each other; larger distances have "
    "no meaning.",
)


@command()
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(),
    metavar="REPORT.html",
    help="File for the page.",
)
@_shown_head
@_shown_embedding
@click.option(
    "--images",
    type=click.Path(),
    metavar="FOLDER",
    help="Folder of the images, if it was moved since `extract`.",
)
@_map
@click.option(
    "--without",
    multiple=True,
    type=click.Choice(["images", "map", "audit", "learning-curve", "epochs"]),
    help="Part of the page to leave out. Repeatable.",
)
@click.option(
    "--title",
    metavar="TEXT",
    help="Title of the page, for example a question.  [default: the names of the classes]",
)
@n_jobs_option(-1)
@json_option
def report(folder: str, output: str, as_json: bool, **options: Any) -> None:
    """Write the benchmark in DIR as one HTML page.

    DIR is the folder of `tlfeatures benchmark -o DIR`. The page opens in any browser, also offline.
    It shows the ranking of the heads (classifiers), the mistakes of one head with their pictures,
    figures, and how the results were computed.

    For the page, the command also computes a learning curve (accuracy against number of images),
    the progress of the best mlp (neural network) by epoch (pass over the training images), and an
    audit of the labels. It keeps these results in DIR. They take seconds for a thousand images. Of
    more than 5,000 images, they use a sample, and the page says so. --without leaves them out.
    """
    with ProgressBars() as bars:
        from tlfeatures.reports.report import report

        written = report(folder, output, progress=bars.show, **options)
    print_result(json.dumps(written.to_dict()) if as_json else render_report(written))


@command()
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option(
    "--what",
    required=True,
    metavar="FIGURE",
    help="Figure to draw: ranking, heat-map (embeddings by heads), confusion, reliability (of the "
    "probabilities), roc, precision-recall, learning-curve, map (of the images), accuracy or loss. "
    "The last two show the training of an mlp by epoch (pass over the training images).",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(),
    metavar="FILE.png|svg|pdf",
    help="File to create.",
)
@_shown_head
@_shown_embedding
@_map
@n_jobs_option(-1)
def plot(folder: str, what: str, output: str, **options: Any) -> None:
    """Draw one figure of the benchmark in DIR.

    DIR is the folder of `tlfeatures benchmark -o DIR`. `tlfeatures report` shows all figures on one
    page.
    """
    with ProgressBars() as bars:
        from tlfeatures.reports.report import plot

        plot(folder, what, output, progress=bars.show, **options)
    print_result(output)


@command()
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(),
    metavar="FILE.csv|FILE.parquet",
    help="File for the table. Parquet needs: pip install 'tlfeatures[parquet]'.",
)
@json_option
def predictions(folder: str, output: str, as_json: bool) -> None:
    """Write the predictions of the benchmark in DIR as a table.

    DIR is the folder of `tlfeatures benchmark -o DIR`. The table has one row for each image and
    each head (classifier) that was tested on the image: the image's id and label, the head, the
    embedding, the repeat, the fold (part of the images that was tested together), the predicted
    class and the probability of each class. The predictions are out-of-fold: each was made by a
    head that was not trained on the image.
    """
    with ProgressBar("writing", "heads/s") as bar:
        from tlfeatures.benchmarking.predictions import write_predictions

        written = write_predictions(folder, output, progress=bar.show)
    print_result(json.dumps(written.to_dict()) if as_json else render_predictions(written))
