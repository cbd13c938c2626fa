"""Commands that import features of other programs, and export embeddings for them."""

from __future__ import annotations

import json
from typing import Any

import click

from tlfeatures.cli.label_options import feature_columns_option, label_options
from tlfeatures.cli.run_options import command, json_option
from tlfeatures.terminal.exits import COMMAND_LINE
from tlfeatures.terminal.features_text import render_features_file, render_importing
from tlfeatures.terminal.progress import ProgressBar
from tlfeatures.terminal.streams import print_result


@command("import")
@click.argument("features", type=click.Path())
@click.option(
    "-o",
    "--output",
    "file",
    required=True,
    type=click.Path(),
    metavar="FILE.h5",
    help="File for the embeddings (HDF5). A file that was imported before is replaced.",
)
@feature_columns_option
@click.option(
    "--ids",
    type=click.Path(),
    metavar="FILE",
    help="Ids of the rows, in their order: a text with one id per line, a CSV with a column id "
    "(and label, group, split), or a .npy of texts. For a .npy of values, which has no ids.",
)
@click.option(
    "--embedding",
    metavar="NAME",
    help="Name of the embedding.  [default: features, or the name in columns such as "
    "block5_pool.avg.0]",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    help="Number format of the embeddings in the file.  [default: float16 if all values are "
    "float16, else float32]",
)
@click.option(
    "--backbone-name",
    metavar="TEXT",
    help="Name of the network that computed the values, if you know it. Files with different "
    "names can't be compared.",
)
@click.option("--note", metavar="TEXT", help="A text that is stored in the file.")
@json_option
@click.pass_context
def import_(ctx: click.Context, /, features: str, file: str, as_json: bool, **options: Any) -> None:
    """Make an embeddings file of features of another program.

    FEATURES is a .npz, .npy, CSV, Parquet or HDF5 file with one row per image, or a folder of the
    HDF5 files that TRIDENT writes. Arrays or columns are recognised by their names: ids (or paths,
    filenames), labels (or y), groups, split, sha256, and features (or X, embeddings). In a table,
    the values are in numbered columns such as features.0, or in one column of lists. Files that
    could run a program (pickles) are refused. docs/features.md shows examples.

    FILE.h5 can be used as a file of `tlfeatures extract`, but images can't be added to it. The
    labels stay in FEATURES: `fit` reads them there, unless --labels gives others.
    """
    with ProgressBar("importing", "rows/s") as bar:
        from tlfeatures.features.import_features import import_features

        line = ctx.meta[COMMAND_LINE]
        result = import_features(features, file, command=line, progress=bar.show, **options)
    print_result(json.dumps(result.to_dict()) if as_json else render_importing(result))


@command()
@click.argument("file", type=click.Path(), metavar="FILE.h5")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(),
    metavar="FILE.npz|parquet|csv",
    help="File to write; its ending is the format. An existing file is replaced.",
)
@click.option(
    "--embedding",
    multiple=True,
    metavar="NAME",
    help="Embedding to write. Repeatable.  [default: all]",
)
@label_options
@json_option
def export_features(
    file: str, output: str, embedding: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Write the embeddings in FILE.h5 for other programs.

    The file has the id, label, group and split of each image, the sha256 of its file, and its
    embeddings. A .npz has one array per embedding. A table has one column per value, such as
    block5_pool.avg.0. `tlfeatures import` reads the file back without any loss.
    """
    with ProgressBar("writing", "rows/s") as bar:
        from tlfeatures.dataset.export_features import export_features

        result = export_features(
            file, output, embedding=embedding or None, progress=bar.show, **options
        )
    print_result(json.dumps(result.to_dict()) if as_json else render_features_file(result))
