"""Options of the images' labels and groups, and of which embedding is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tlfeatures.cli.number_types import AnyWholeNumber, WholeNumber
from tlfeatures.cli.run_options import Function, combine
from tlfeatures.features.backbones.table import BACKBONES, DEFAULT_BACKBONE

_BACKBONE = BACKBONES[DEFAULT_BACKBONE]


embedding_option = click.option(
    "--embedding",
    metavar="LAYER.POOLING|A+B",
    help="Embedding to use, by its layer and pooling. A+B joins several embeddings into one "
    "vector; each is scaled to length 1. With several files, write the file of each part: "
    "FIRST.h5:A+SECOND.h5:B. `tlfeatures info FILE.h5` lists the embeddings.  "
    f"[default: the only one, or the default of the backbone: {_BACKBONE.default_embedding} of "
    f"{_BACKBONE.name}]",
)
variants_option = click.option(
    "--variants",
    type=WholeNumber(min=0),
    metavar="N",
    help="Also train on the first N variants (randomly changed copies) of each training image, if "
    "FILE.h5 has variants; see `tlfeatures extract --augment`.  [default: all in the file]",
)


class _Columns(click.ParamType):  # type: ignore[type-arg]
    """Names of columns, as in id=filename,label=species."""

    name = "columns"

    def convert(self, value: Any, param: Any, ctx: Any) -> dict[str, str]:
        if isinstance(value, dict):
            return value
        pairs = [pair.partition("=") for pair in value.split(",")]
        if not all(equals for _, equals, _ in pairs):
            self.fail(
                f"{value!r} does not have the form ROLE=NAME,... as in "
                "id=filename,label=species,group=site",
                param,
                ctx,
            )
        names = {role.strip().lower(): name for role, _, name in pairs}
        if len(names) < len(pairs):
            self.fail(f"{value!r} names two columns for one of {', '.join(names)}", param, ctx)
        return names


class _Similarity(click.ParamType):  # type: ignore[type-arg]
    """A number, auto or off."""

    name = "similarity"

    def convert(self, value: Any, param: Any, ctx: Any) -> float | str | None:
        if value is None or value == "off":
            return None
        if value == "auto":
            return "auto"
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number, auto nor off", param, ctx)


columns_option = click.option(
    "--columns",
    type=_Columns(),
    metavar="ROLE=NAME,...",
    help="Names of the columns in the table, if they are not the usual ones, for example "
    "id=filename,label=species,group=site. Roles: id (the path of the image), label, group, split, "
    "and x, y, width and height of a box in pixels. ROLE= without a name leaves a column out.",
)


def folder_option(argument: str, name: str) -> Callable[[Function], Function]:
    """Create the option --images, which becomes the parameter `name`."""
    return click.option(
        "--images",
        name,
        type=click.Path(),
        metavar="DIR|URL",
        help=f"If {argument} is a table: folder that the paths in it are relative to.  [default: "
        "the folder of the table]",
    )


images_option = folder_option("SOURCE", "images")

feature_columns_option = click.option(
    "--columns",
    type=_Columns(),
    metavar="ROLE=NAME,...",
    help="Names of the arrays or columns in FEATURES, if they are not the usual ones, for example "
    "id=specimen,label=species,features=emb. Roles: id, label, group, split, sha256, features. For "
    "numbered columns such as emb_0, features is the text before the number.",
)

label_options = combine(
    click.option(
        "--labels",
        type=click.Path(),
        metavar="FILE",
        help="Table with the columns id and label, and optionally group and split: CSV, JSON, "
        "Parquet or Excel, or COCO's JSON. An id is the path of an image inside the folder of the "
        "images, as in cat/1.jpg.  [default: the labels of SOURCE, else the names of the folders]",
    ),
    click.option(
        "--label-level",
        type=AnyWholeNumber(),
        metavar="N",
        help="Which folder in an image's path is the label: 1 is the top folder, 2 the folder "
        "inside it, -1 the folder that holds the image.  [default: 1, or 2 below train, val and "
        "test]",
    ),
    columns_option,
    click.option(
        "--groups",
        metavar="FILE|REGEX",
        help="Groups of images that belong together, for example all images of a patient, a site "
        "or a video. No head is tested on an image of a group that it was trained on, and the "
        "intervals treat a group as one unit. Give a table with the columns id and group, or a "
        "regular expression that is searched in the ids; its first group ( ) is the group name. "
        "Example: '(patient[0-9]+)' finds patient7 in cat/patient7_2.jpg.",
    ),
)

# Options of labels, groups and near-duplicates.
dataset_options = combine(
    label_options,
    click.option(
        "--near-duplicates",
        type=_Similarity(),
        metavar="SIMILARITY|auto|off",
        default="auto",
        show_default=True,
        help="Treat two images as copies of the same photograph if the similarity of their "
        "embeddings is at least this number; 1 means equal. No head is tested on a copy of an "
        "image that it was trained on. auto is the limit of the backbone, "
        f"{_BACKBONE.near_duplicate} for {_BACKBONE.name}, and off for a network of your own and "
        "for imported embeddings. off treats only identical files as copies.",
    ),
)
