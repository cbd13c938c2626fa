"""Commands that describe what is installed: backbones, doctor."""

from __future__ import annotations

import json

import click

from tlfeatures.cli.run_options import command, json_option
from tlfeatures.terminal.backbones_text import render_backbones
from tlfeatures.terminal.doctor_text import render_diagnosis
from tlfeatures.terminal.progress import WaitingLine
from tlfeatures.terminal.streams import print_message, print_result


@command()
@json_option
def backbones(as_json: bool) -> None:
    """List the backbones that have a name.

    A backbone is the trained neural network that turns images into embeddings (vectors of numbers);
    choose one by `tlfeatures extract --backbone NAME`. The command prints the width of its
    embedding, its default image size, its number of parameters, the licence and the source of its
    weights, and whether they are on this machine. If they were measured, it also prints the speed
    on this machine and the accuracy on two sets of images.

    The command downloads nothing. --json prints more facts.
    """
    from tlfeatures.features.list_backbones import list_backbones

    listed = list_backbones()
    if as_json:
        print_result(json.dumps({"backbones": [facts.to_dict() for facts in listed]}))
    else:
        print_result(render_backbones(listed))


@command()
@click.option(
    "--measure",
    is_flag=True,
    help="Measure how many images per second each installed engine computes by VGG16 on this "
    "machine, in float32 and in bfloat16 where the processor has it. The speeds are kept, and "
    "`extract` uses them. It takes about a minute, and longer if other programs are running.",
)
@json_option
def doctor(measure: bool, as_json: bool) -> None:
    """Show what is installed, how fast it is, and what would be faster.

    The command prints ten lines: versions, the processor, threads, GPU, engines (libraries that
    compute embeddings), Keras, the speed that was measured on this machine, weights and disk space.
    The last line says what would make `tlfeatures extract` faster.

    The command downloads nothing. It does not fail: if something can't be found out, its line says
    why.
    """
    if measure:
        print_message("Measuring the engines; this takes about a minute.")
    with WaitingLine():
        from tlfeatures.features.doctor import doctor

        found = doctor(measure=measure)
    print_result(json.dumps(found.to_dict()) if as_json else render_diagnosis(found))
