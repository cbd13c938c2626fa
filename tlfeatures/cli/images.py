"""Commands from images to an embeddings file: extract, verify, merge."""

from __future__ import annotations

import json
from typing import Any

import click

from tlfeatures.cli.image_options import (
    backbone_options,
    batch_size_option,
    device_option,
    max_pixels_option,
    weights_option,
)
from tlfeatures.cli.label_options import columns_option, images_option
from tlfeatures.cli.number_types import WholeNumber
from tlfeatures.cli.run_options import cluster_options, command, json_option, pop_cluster
from tlfeatures.terminal.embeddings_text import (
    render_extraction,
    render_merging,
    render_verification,
)
from tlfeatures.terminal.exits import COMMAND_LINE, FAILED, exit_for_failures
from tlfeatures.terminal.progress import ProgressBar
from tlfeatures.terminal.stopping import stopping_on_signals
from tlfeatures.terminal.streams import print_result


@command()
@click.argument("source", nargs=-1, required=True, type=click.Path())
@click.option(
    "-o",
    "--output",
    "file",
    required=True,
    type=click.Path(),
    metavar="FILE.h5",
    help="File for the embeddings (HDF5). It is created, or updated if it exists.",
)
@images_option
@columns_option
@backbone_options
@click.option(
    "--prune",
    is_flag=True,
    help="Delete the embeddings of images that are no longer in SOURCE, even if more than 10 % of "
    "the images are gone. Without this option, the command stops in that case.",
)
@click.option(
    "--trust-mtime",
    is_flag=True,
    help="Do not read images again whose file size and modification time have not changed. This "
    "is faster.",
)
@batch_size_option
@max_pixels_option
@device_option
@cluster_options
@click.option(
    "--shards",
    type=click.Path(),
    metavar="DIR|URL",
    help="With --cluster: folder into which the workers write shards (files with parts of the "
    "embeddings), for example s3://bucket/shards. At the end, the embeddings are copied into "
    "FILE.h5 and the shards are removed.  [default: FILE.h5.shards, where the shards stay and "
    "FILE.h5 refers to them]",
)
@json_option
@click.pass_context
def extract(
    ctx: click.Context, /, source: tuple[str, ...], file: str, as_json: bool, **options: Any
) -> None:
    """Compute the embeddings of images.

    An embedding is a vector of numbers that a trained neural network (the backbone) computes from
    an image. The command stores the embeddings in FILE.h5. `tlfeatures fit` then fits a classifier
    to them.

    SOURCE is a folder or a URL such as s3://bucket/photos. It has one subfolder per class,
    optionally under train/, val/ and test/. Images without class folders can be embedded, too; give
    their labels to `fit` in a table. SOURCE can also be a table with the paths of images and
    their labels (CSV, JSON, Parquet) or an archive (zip, tar); `fit` then reads the labels from it.
    Several sources are embedded together. docs/sources.md describes all kinds.

    Run the command again after you add, remove, move or rename images, or with another --layer. It
    computes only what is missing. Options you leave out keep the values stored in the file. Ctrl-C
    or SIGTERM stops the command after the current batch of images.
    """
    with stopping_on_signals() as stop, ProgressBar() as bar:
        from tlfeatures.features.extract import extract

        line = ctx.meta[COMMAND_LINE]
        options |= pop_cluster(options)
        result = extract(source, file, command=line, progress=bar.show, stop=stop, **options)
    print_result(json.dumps(result.to_dict()) if as_json else render_extraction(result))
    exit_for_failures(ctx, ((item["id"], item["reason"]) for item in result.failed))


@command()
@click.argument("file", type=click.Path(), metavar="FILE.h5")
@click.option(
    "--source",
    multiple=True,
    type=click.Path(),
    metavar="DIR",
    help="Folder or other source of the images. All of them are compared with the file, and a "
    "sample is embedded again. Repeatable, for several sources.",
)
@click.option(
    "--sample",
    type=WholeNumber(min=0),
    default=16,
    show_default=True,
    metavar="N",
    help="Number of images of --source to embed again.",
)
@click.option(
    "--mend",
    is_flag=True,
    help="Mark damaged rows as missing, so that the next `extract` computes them again.",
)
@weights_option
@max_pixels_option
@device_option
@json_option
@click.pass_context
def verify(
    ctx: click.Context, /, file: str, source: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Check the rows of FILE.h5, its images and its backbone.

    A row holds the embedding (vector of numbers) of one image. The command reads every row and
    compares it with its checksum. With --source, it also lists the images that were added, changed
    or removed, and embeds a sample again to compare the values. Each problem is printed with what
    to do. Only --mend changes the file.

    The exit code is 1 if a problem was found.
    """
    with ProgressBar("checking", "rows/s") as bar:
        from tlfeatures.features.verify import verify

        result = verify(file, source or None, progress=bar.show, **options)
    print_result(json.dumps(result.to_dict()) if as_json else render_verification(result))
    if not result.ok:
        ctx.exit(FAILED)


@command()
@click.argument("file", type=click.Path(), metavar="FILE.h5")
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="ONE.h5",
    help="File to create. FILE.h5 and its shards are kept.  [default: replace FILE.h5]",
)
@json_option
def merge(file: str, output: str | None, as_json: bool) -> None:
    """Merge FILE.h5 and its shards into one file.

    `tlfeatures extract --cluster` writes the embeddings into several files, the shards, in a folder
    next to FILE.h5. Without -o, the merged file replaces FILE.h5 and the shards are removed.
    """
    with ProgressBar("merging", "rows/s") as bar:
        from tlfeatures.features.merge import merge

        result = merge(file, output, progress=bar.show)
    print_result(json.dumps(result.to_dict()) if as_json else render_merging(result))
