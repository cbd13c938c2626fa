"""The command line: each command parses its options, calls one library function and prints.

In: the arguments of a command. Out: its result on standard output, messages on standard error, an
exit code. The commands import the library when they run, so that `--help` is fast.
"""

from __future__ import annotations

import click

from tlfeatures.cli import features, heads, images, installation, models, pages
from tlfeatures.terminal.exits import Commands
from tlfeatures.terminal.messages import show_messages


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tlfeatures")
@click.option(
    "-v", "--verbose", is_flag=True, help="Print information messages, too, not only warnings."
)
def main(verbose: bool) -> None:
    """Train good image classifiers on few images.

    A trained neural network turns each image into a vector of numbers, its embedding. The network
    stays unchanged, and the embeddings are stored in a file. Classifiers ("heads") are then fitted
    (trained) on the embeddings and compared in seconds:

    \b
      tlfeatures extract photos -o photos.h5
      tlfeatures fit photos.h5 --head all -o photos.model
      tlfeatures predict photos.model new/*.jpg

    `tlfeatures COMMAND --help` explains each command. Results go to standard output, messages to
    standard error. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but some images could not be
    read.
    """  # noqa: D301
    show_messages(verbose)


for _command in (
    *(images.extract, images.verify, images.merge),
    *(features.import_, features.export_features),
    *(heads.fit, heads.benchmark, heads.audit, heads.learning_curve, heads.demo),
    *(pages.report, pages.plot, pages.predictions),
    *(models.predict, models.evaluate, models.export, models.info),
    *(installation.backbones, installation.doctor),
):
    main.add_command(_command)
