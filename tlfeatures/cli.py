"""The command line: each command parses, makes one call of the library, and prints.

Results go to standard output, everything else to standard error. Errors become exit codes in one
place, `_Commands.invoke`: 0 done, 1 the job failed, 2 wrong usage, 3 done but some images could
not be read.
"""

from __future__ import annotations

import csv
import errno
import json
import logging
import math
import os
import shlex
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from tlfeatures.errors import OutputError, ParameterError, StoppedError, TlfeaturesError
from tlfeatures.features.backbones.table import BACKBONES, DEFAULT_BACKBONE, POOLINGS

if TYPE_CHECKING:
    from tlfeatures.benchmarking import Benchmark
    from tlfeatures.model import Prediction

# Libraries are imported inside the commands: `--help` loads none of them.

FAILED, WRONG_USAGE, SOME_UNREADABLE = 1, 2, 3

_COMMAND_LINE = "tlfeatures.command"  # of this process, to be kept with what it makes
_BACKBONE = BACKBONES[DEFAULT_BACKBONE]

Function = TypeVar("Function", bound=Callable[..., Any])


_STREAMS = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))


def _open_closed_streams() -> None:
    """Put nothing in place of standard streams that are closed, as by `>&-`.

    Else the next file that is opened gets the number of such a stream, and what a library prints
    goes into that file.
    """
    for number, name, mode in _STREAMS:
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, number)
            os.set_inheritable(number, True)
            if nothing != number:
                os.close(nothing)
        if getattr(sys, name) is None and number:  # that there is no input is told from None
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _finish_writing(stream: IO[str] | None) -> OSError | None:
    """Write what a stream still holds; give the error where it can't be, and let it be lost.

    What is still held when Python ends would end in a traceback and another exit code.
    """
    if stream is None:
        return None
    try:
        stream.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # a test's has no number
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())
            os.close(nothing)
        return error
    except ValueError:  # closed
        pass
    return None


_NO_OUTPUT = "standard output can't be written: "


@contextmanager
def _writing_output() -> Iterator[None]:
    """Name standard output where it can't be written."""
    try:
        yield
    except BrokenPipeError:
        raise  # click knows: whoever read our output has gone
    except OSError as error:
        _finish_writing(sys.stdout)
        raise OutputError(f"{_NO_OUTPUT}{error.strerror or error}") from error


def _print(text: str) -> None:
    """Write a result to standard output."""
    with _writing_output():
        click.echo(text)


def _say(text: str) -> None:
    """Write a line to standard error, if that can be written."""
    with suppress(OSError):
        click.echo(text, err=True)


def _code_of(error: click.ClickException) -> int:
    """Show what is wrong with the usage, if that can be written; give the exit code."""
    with suppress(OSError):
        error.show()
    return error.exit_code


class _Command(click.Command):
    """A command whose help may meet a full disk."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _writing_output():
            return super().make_context(*args, **kwargs)


class _Commands(click.Group):
    """Commands whose errors become one line and an exit code."""

    command_class = _Command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        _open_closed_streams()
        failed = None
        try:
            return super().main(*args, **kwargs)
        except SystemExit as ended:
            code = ended.code
        except OSError as error:  # of a help that can't be written
            failed, code = error, FAILED
        refused = _finish_writing(sys.stdout)
        if refused is not None:
            failed, code = refused, code if code in (FAILED, WRONG_USAGE) else FAILED
        if failed is not None and failed.errno != errno.EPIPE:  # else who read it has gone
            _say(f"Error: {_NO_OUTPUT}{failed.strerror or failed}")
        _finish_writing(sys.stderr)
        sys.exit(code)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.ClickException as error:
            sys.exit(_code_of(error))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_COMMAND_LINE] = shlex.join(["tlfeatures", *args])
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            ctx.exit(_code_of(error))
        except StoppedError as error:
            _say(f"{error}; go on with: {ctx.meta[_COMMAND_LINE]}")
            ctx.exit(FAILED)
        except TlfeaturesError as error:
            _say(f"Error: {_one_line(str(error))}")
            ctx.exit(WRONG_USAGE if isinstance(error, ParameterError) else FAILED)
        except BrokenPipeError:
            raise  # click knows: whoever read our output has gone
        except OSError as error:
            named = f"{error.filename}: " if error.filename else ""
            _say(f"Error: {_one_line(named)}{error.strerror or error}")
            ctx.exit(FAILED)
        except KeyboardInterrupt:
            goes_on = "; the same command goes on where it stopped"
            if ctx.invoked_subcommand == "benchmark":
                goes_on = "; with -o DIR" + goes_on.removeprefix(";")
            keeping = ctx.invoked_subcommand in ("extract", "demo", "benchmark")
            _say(f"\nInterrupted{goes_on if keeping else ''}.")
            ctx.exit(FAILED)


class _Once(logging.Filter):
    """Lets what is said of labels pass once: a benchmark loads them for every embedding."""

    _of_labels = ("tlfeatures.dataset", "tlfeatures.labels", "tlfeatures.label_tables")

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        line = record.getMessage()
        again = record.name in self._of_labels and line in self._seen
        self._seen.add(line)
        return not again


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tlfeatures")
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
def main(verbose: bool) -> None:
    """Good image classifiers from few images.

    Embed images once by a frozen network, then fit and compare classical heads in seconds:

    \b
      tlfeatures extract photos -o photos.h5
      tlfeatures fit photos.h5 --head all -o photos.model
      tlfeatures predict photos.model new/*.jpg

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but some images could not be read.
    """  # noqa: D301
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    handler.addFilter(_Once())
    package = logging.getLogger("tlfeatures")
    package.handlers = [handler]
    package.setLevel(logging.INFO if verbose else logging.WARNING)
    # A download, a calibration, a dashboard's address: who waits wants to know why, and where.
    for long in ("features.weights", "features.calibrate", "features.on_cluster", "cluster"):
        logging.getLogger(f"tlfeatures.{long}").setLevel(logging.INFO)
    # What Pillow says of odd metadata; the pixels are what counts.
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _backbone_options(function: Function) -> Function:
    """Options of how images become embeddings; what is left out follows the file."""
    for option in (
        click.option(
            "--random-state",
            type=click.IntRange(min=0),
            help="Seed of random weights.  [default: 0]",
        ),
        click.option(
            "--augment-spec",
            metavar="NAME=VALUE,...",
            help="What is drawn for each variant: rotation (degrees to either side), zoom, shift, "
            "brightness (shares), horizontal_flip, vertical_flip; and the seed.  "
            "[default: rotation=30,zoom=0.2,horizontal_flip]",
        ),
        click.option(
            "--augment",
            type=click.IntRange(min=0),
            metavar="N",
            help="Embed N variants of each image, too: heads are trained on those of their "
            "training images, and scored on none.  [default: 0]",
        ),
        click.option(
            "--dtype",
            type=click.Choice(["float32", "float16"]),
            help="Of the file.  [default: float32]",
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "bfloat16", "int8"]),
            help="Of the forward pass; auto: bfloat16 where the hardware has it; int8: OpenVINO's, "
            "calibrated on 64 of the images.  [default: auto]",
        ),
        click.option(
            "--engine",
            type=click.Choice(["auto", "keras", "openvino", "ncnn"]),
            help="What computes the forward pass; auto: the fastest that is installed (extras "
            "openvino and ncnn).  [default: auto]",
        ),
        click.option(
            "--weights",
            metavar="imagenet|random|PATH",
            help="PATH is an HDF5 file of Keras weights.  [default: imagenet]",
        ),
        click.option(
            "--value-range",
            metavar="LO,HI",
            help="Values that become black and white, of images with more than 8 bits a channel: "
            "0,4095 for a 12-bit camera.  [default: the range that the file states, or 0,65535]",
        ),
        click.option(
            "--size", metavar="N|H,W", help="Pixels that images are resized to.  [default: 224]"
        ),
        click.option(
            "--pool",
            "pools",
            multiple=True,
            type=click.Choice(POOLINGS),
            help="How feature maps become vectors; repeatable.  [default: avg]",
        ),
        click.option(
            "--layer",
            "layers",
            multiple=True,
            metavar="LAYER[.POOLING]",
            help=f"{_BACKBONE.layers_in_words()}; repeatable.  "
            f"[default: {_BACKBONE.default_layer}]",
        ),
        click.option(
            "--backbone",
            metavar="|".join(BACKBONES),
            help="pixels: colours in a grid (layers grid4, grid8, mean), a control.  "
            f"[default: {DEFAULT_BACKBONE}]",
        ),
    ):
        function = option(function)
    return function


_device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="Where the forward pass runs; auto: a GPU if there is one.",
)


class _BatchSize(click.ParamType):  # type: ignore[type-arg]
    """A number from 1 up, or auto."""

    name = "batch_size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | str:
        if value == "auto":
            return "auto"
        try:
            return click.IntRange(min=1).convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is neither a number from 1 up nor auto", param, ctx)


_batch_size = click.option(
    "--batch-size",
    type=_BatchSize(),
    metavar="N|auto",
    default="auto",
    show_default=True,
    help="Images a forward pass; auto: as many as gain anything and fit into memory.",
)
_max_pixels = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=178_956_970,
    show_default=True,
    metavar="N",
    help="Refuse images that have more, before they are decoded.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_embedding = click.option(
    "--embedding",
    metavar="LAYER.POOLING|A+B",
    help="A+B: several side by side, each scaled to length 1.  [default: the only one, or "
    f"{_BACKBONE.default_embedding}]",
)
_variants = click.option(
    "--variants",
    type=click.IntRange(min=0),
    metavar="N",
    help="Train on the first N variants of each training image, too.  [default: all in the file]",
)


def _seed(of: str) -> Callable[[Function], Function]:
    return click.option(
        "--random-state",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help=f"Seed of {of}.",
    )


_random_state = _seed("folds and heads")
_params = click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of the heads: C=0.01, class_weight=balanced; repeatable.",
)


def _n_jobs(default: int) -> Callable[[Function], Function]:
    return click.option(
        "--n-jobs",
        type=int,
        default=default,
        show_default=True,
        help="Folds fitted at once; -1: all cores.",
    )


def _cluster_options(function: Function) -> Function:
    """Options of the processes on other machines; `_pop_cluster` makes of them what is called."""
    files = {
        "--tls-ca-file": "Certificate of the authority that signed those of a tls:// cluster.",
        "--tls-cert": "Certificate of this client.",
        "--tls-key": "Its key.",
    }
    for name in reversed(files):
        function = click.option(name, type=click.Path(), metavar="PEM", help=files[name])(function)
    return click.option(
        "--cluster",
        metavar="tcp://HOST:PORT|local",
        help="Let the workers of this scheduler of Dask do it, as many at once as there are; "
        "local: those of one that is started on this machine (extra cluster).",
    )(function)


def _pop_cluster(options: dict[str, Any]) -> dict[str, Any]:
    """Take `_cluster_options` out; give what the library knows as `cluster` and `tls`."""
    cluster = options.pop("cluster")
    files = [options.pop(name) for name in ("tls_ca_file", "tls_cert", "tls_key")]
    if not any(files):
        return {"cluster": cluster, "tls": None}
    if cluster is None or not all(files):
        raise ParameterError(
            "--tls-ca-file, --tls-cert and --tls-key go together, and with --cluster tls://..."
        )
    from tlfeatures.features.cluster.client import TLS

    return {"cluster": cluster, "tls": TLS(*files)}


_report = click.option(
    "--report",
    type=click.Path(),
    metavar="REPORT.html",
    help="Write a page of it, too; see `tlfeatures report`.",
)


def _check_page(page: str | None) -> None:
    """A page that can't be written is said before the work."""
    if page is not None:
        from tlfeatures.reporting import check_page

        check_page(page)


def _write_page(benchmark: Benchmark, page: str, **options: Any) -> None:
    from tlfeatures.render import render_report
    from tlfeatures.reporting import write_report

    with _Bars() as bars:
        written = write_report(benchmark, page, progress=bars.show, **options)
    _say(render_report(written))


class _Columns(click.ParamType):  # type: ignore[type-arg]
    """Names of columns, as in id=filename,label=species."""

    name = "columns"

    def convert(self, value: Any, param: Any, ctx: Any) -> dict[str, str]:
        if isinstance(value, dict):
            return value
        pairs = [pair.partition("=") for pair in value.split(",")]
        if not all(equals for _, equals, _ in pairs):
            self.fail(f"{value!r} is not as in id=filename,label=species,group=site", param, ctx)
        names = {role.strip().lower(): name for role, _, name in pairs}
        if len(names) < len(pairs):
            self.fail(f"{value!r} names two columns for one of {', '.join(names)}", param, ctx)
        return names


class _Similarity(click.ParamType):  # type: ignore[type-arg]
    """A number, or off."""

    name = "similarity"

    def convert(self, value: Any, param: Any, ctx: Any) -> float | None:
        if value is None or value == "off":
            return None
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is no number, and not off", param, ctx)


def _dataset_options(function: Function) -> Function:
    """Options of labels, and of what must stay on one side of a split."""
    for option in (
        click.option(
            "--near-duplicates",
            type=_Similarity(),
            metavar="SIMILARITY|off",
            default="0.4",
            show_default=True,
            help="Images at least so similar (1: equal) belong together: on one side of every "
            "split, one unit of every interval.",
        ),
        click.option(
            "--groups",
            metavar="CSV|REGEX",
            help="What belongs together (patient, site, video): a CSV file with the columns id and "
            "group, or a regular expression that is searched in an id; its first group ( ) is the "
            "name of the group.",
        ),
        click.option(
            "--label-columns",
            type=_Columns(),
            metavar="ROLE=NAME,...",
            help="Names of the CSV's columns, where they aren't called id, label, group and split: "
            "id=filename,label=species,group=site.",
        ),
        click.option(
            "--label-level",
            type=int,
            metavar="N",
            help="Which folder in an image's path is its label: 1 is the top folder, 2 the folder "
            "in it, -1 the folder that holds the image.  [default: 1; 2 below train, val and test]",
        ),
        click.option(
            "--labels",
            type=click.Path(),
            metavar="CSV",
            help="A CSV file with the columns id and label, optionally group and split. An id is "
            "the path of an image below SOURCE, as in cat/1.jpg.  [default: the folders]",
        ),
    ):
        function = option(function)
    return function


def _head_options(function: Function) -> Function:
    """Options of heads and of how they are validated."""
    for option in (
        _random_state,
        _params,
        click.option(
            "--scoring",
            multiple=True,
            help="The score that ranks heads and that --tune optimises: log_loss, roc_auc, "
            "f1_macro or a scorer of scikit-learn. Repeat it to show more; the first one ranks.  "
            "[default: accuracy]",
        ),
        click.option(
            "--tune",
            is_flag=True,
            help="Choose the heads' parameters by cross-validation inside each training fold.",
        ),
        click.option(
            "--split",
            type=click.Choice(["auto", "cv", "val", "test"]),
            default="auto",
            show_default=True,
            help="What to score on; auto: val, else test, where the file has train and these, "
            "else cv.",
        ),
        click.option(
            "--cv",
            type=int,
            help="Folds, stratified; given, it is used in place of splits.  [default: 5]",
        ),
    ):
        function = option(function)
    return function


_HEADS = "logreg|linear-svm|rbf-svm|gradient-boosting|knn|centroid|ridge|lda|mlp|dummy|all"
_HEADS_HELP = "Or module:Class of a scikit-learn classifier; repeatable, or with commas."


@main.command()
@click.argument("source", type=click.Path())
@click.option(
    "-o",
    "--output",
    "file",
    required=True,
    type=click.Path(),
    metavar="FILE.h5",
    help="Created, or updated if it exists.",
)
@_backbone_options
@click.option(
    "--prune",
    is_flag=True,
    help="Delete the rows of removed images, even if more than 10 % are gone.",
)
@click.option(
    "--trust-mtime",
    is_flag=True,
    help="Don't read images whose size and modification time are those of the last run.",
)
@_batch_size
@_max_pixels
@_device
@_cluster_options
@click.option(
    "--shards",
    type=click.Path(),
    metavar="DIR|URL",
    help="With --cluster: a folder for the workers' shards, which are merged into FILE.h5 at the "
    "end.  [default: FILE.h5.shards, where they stay, and FILE.h5 refers to them]",
)
@_json
@click.pass_context
def extract(ctx: click.Context, /, source: str, file: str, as_json: bool, **options: Any) -> None:
    """Embed the images of the folder SOURCE, a path or a URL (s3://...), into FILE.h5.

    SOURCE has one subfolder a class, optionally under train/, val/ and test/. Run again after
    images were added, moved or renamed, or with other layers: only what is missing is computed.
    Options you leave out keep the values stored in the file, if there is one. Ctrl-C or SIGTERM
    stops after the batch at work.
    """
    with _stopping() as stop, _Bar() as bar:
        from tlfeatures.features.extract import extract
        from tlfeatures.render import render_extraction

        command = ctx.meta[_COMMAND_LINE]
        options |= _pop_cluster(options)
        result = extract(source, file, command=command, progress=bar.show, stop=stop, **options)
    _print(json.dumps(result.to_dict()) if as_json else render_extraction(result))
    _exit_for_failures(ctx, ((item["id"], item["reason"]) for item in result.failed))


@main.command()
@click.argument("file", type=click.Path(), metavar="FILE.h5")
@click.option(
    "--head",
    "--heads",
    "heads",
    multiple=True,
    default=["logreg"],
    show_default=True,
    metavar=_HEADS,
    help=_HEADS_HELP,
)
@_embedding
@_variants
@_dataset_options
@_head_options
@_n_jobs(1)
@_cluster_options
@click.option(
    "-o", "--output", "model", type=click.Path(), metavar="MODEL", help="Save the best head here."
)
@_report
@_json
@click.pass_context
def fit(
    ctx: click.Context,
    /,
    file: str,
    heads: tuple[str, ...],
    params: tuple[str, ...],
    report: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Cross-validate heads on FILE.h5; refit the best on all rows and save it to MODEL."""
    from tlfeatures.fitting import fit
    from tlfeatures.heads import parse_params
    from tlfeatures.render import render_fit

    _check_page(report)
    options |= _pop_cluster(options)
    command = ctx.meta[_COMMAND_LINE]
    result = fit(file, heads, params=parse_params(params), command=command, **options)
    _print(json.dumps(result.to_dict()) if as_json else render_fit(result))
    if report is not None:
        datasets = {(result.file, result.embedding, result.data.n_variants): result.data}
        _write_page(result.as_benchmark(), report, datasets=datasets, n_jobs=options["n_jobs"])


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE.h5...")
@click.option(
    "--heads",
    "--head",
    "heads",
    multiple=True,
    default=["all"],
    show_default=True,
    metavar=_HEADS,
    help=_HEADS_HELP,
)
@click.option(
    "--embeddings",
    "--embedding",
    "embeddings",
    multiple=True,
    default=["all"],
    show_default=True,
    metavar="LAYER.POOLING|A+B|all",
    help="Repeatable; A+B: several side by side, each scaled to length 1.",
)
@_variants
@_dataset_options
@_head_options
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Cross-validations with other folds; more of them find smaller differences.",
)
@_n_jobs(-1)
@_cluster_options
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(),
    metavar="DIR",
    help="Folder for results.json and predictions.csv. Results already in it are not computed "
    "again.",
)
@_report
@_json
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
    """Rank every head on every embedding of the files, on the same folds.

    Each score has a 95 % interval, and the ranking marks the heads that are not
    significantly different from the best.
    """
    from tlfeatures.benchmarking import benchmark
    from tlfeatures.heads import parse_params
    from tlfeatures.render import render_benchmark

    _check_page(report)
    options |= _pop_cluster(options)
    with _Bar("folds", "folds/s") as bar:
        result = benchmark(
            files,
            params=parse_params(params),
            command=ctx.meta[_COMMAND_LINE],
            progress=bar.show,
            **options,
        )
    _print(json.dumps(result.to_dict()) if as_json else render_benchmark(result))
    if report is not None:
        _write_page(result, report, n_jobs=options["n_jobs"])


@main.command()
@click.argument("file", type=click.Path(), metavar="FILE.h5")
@_embedding
@_dataset_options
@click.option(
    "--head", default="rbf-svm", show_default=True, help="The head that judges the labels."
)
@click.option("--cv", type=int, default=5, show_default=True, help="Folds, stratified.")
@_n_jobs(1)
@_random_state
@click.option(
    "--top", type=click.IntRange(min=0), default=20, show_default=True, help="Rows that are shown."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FILE.csv|FILE.json",
    help="Write all rows to this file.",
)
@_json
def audit(file: str, top: int, as_json: bool, **options: Any) -> None:
    """List what is probably wrong with the images of FILE.h5, worst first.

    Copies and near-duplicates in two classes or two splits, images that can't be read, probable
    label errors (confident learning), and outliers. It only reads: no file or folder of yours is
    changed.
    """
    from tlfeatures.auditing import audit
    from tlfeatures.render import render_audit

    with _Bar("folds", "folds/s") as bar:
        result = audit(file, progress=bar.show, **options)
    _print(json.dumps(result.to_dict()) if as_json else render_audit(result, top))


def _sizes(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
    """Numbers with commas between them."""
    if value is None:
        return None
    try:
        return [int(size) for size in value.split(",")]
    except ValueError:
        raise ParameterError(f"--sizes is {value!r}; expected numbers, as in 5,10,20") from None


@main.command("learning-curve")
@click.argument("file", type=click.Path(), metavar="FILE.h5")
@click.option(
    "--head",
    default="logreg",
    show_default=True,
    metavar=_HEADS.removesuffix("|all"),
    help="Or module:Class of a scikit-learn classifier.",
)
@_embedding
@_variants
@_dataset_options
@click.option(
    "--sizes",
    callback=_sizes,
    metavar="N,N,...",
    help="Training images a class; the whole fold is added.  [default: from about 5, growing by "
    "a factor]",
)
@click.option("--cv", type=int, default=5, show_default=True, help="Folds, stratified.")
@_params
@_n_jobs(-1)
@_random_state
@_json
def learning_curve(file: str, params: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Say whether more images would help: accuracy against images a class.

    A curve fitted to it says what twice and four times the images would give, if it has
    predicted the whole from half of it; else, that it can't be told.
    """
    from tlfeatures.heads import parse_params
    from tlfeatures.learning_curves import learning_curve
    from tlfeatures.render import render_learning_curve

    with _Bar("fits", "fits/s") as bar:
        curve = learning_curve(file, params=parse_params(params), progress=bar.show, **options)
    _print(json.dumps(curve.to_dict()) if as_json else render_learning_curve(curve))


_shown_head = click.option(
    "--head", help="Shown in detail, by its name in the ranking.  [default: the best]"
)
_shown_embedding = click.option(
    "--embedding", metavar="LAYER.POOLING", help="Shown in detail.  [default: the best]"
)
_map = click.option(
    "--map",
    type=click.Choice(["pca", "tsne"]),
    default="pca",
    show_default=True,
    help="How images are laid out on the map.",
)


@main.command()
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option(
    "-o", "--output", required=True, type=click.Path(), metavar="REPORT.html", help="The page."
)
@_shown_head
@_shown_embedding
@click.option(
    "--images",
    type=click.Path(),
    metavar="FOLDER",
    help="Where the images are, if they were moved since `extract`.",
)
@_map
@click.option(
    "--without",
    multiple=True,
    type=click.Choice(["images", "map", "audit", "learning-curve", "epochs"]),
    help="Leave this out; repeatable.",
)
@click.option("--title", help="The question.  [default: the classes]")
@_n_jobs(-1)
@_json
def report(folder: str, output: str, as_json: bool, **options: Any) -> None:
    """Write the benchmark in DIR as one HTML page, with figures and pictures; it opens offline.

    The learning curve of the best head, the epochs of the best mlp and the audit (by rbf-svm) are
    computed for it, and kept in DIR. They take seconds for a thousand images and minutes for tens
    of thousands, the learning curve of mlp most; --without leaves them out.
    """
    from tlfeatures.render import render_report
    from tlfeatures.reporting import report

    with _Bars() as bars:
        written = report(folder, output, progress=bars.show, **options)
    _print(json.dumps(written.to_dict()) if as_json else render_report(written))


@main.command()
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option(
    "--what",
    required=True,
    metavar="FIGURE",
    help="ranking, heat-map, confusion, reliability, roc, precision-recall, learning-curve, map; "
    "accuracy or loss by epoch.",
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
@_n_jobs(-1)
def plot(folder: str, what: str, output: str, **options: Any) -> None:
    """Draw one figure of the benchmark in DIR."""
    from tlfeatures.reporting import plot

    with _Bars() as bars:
        plot(folder, what, output, progress=bars.show, **options)
    _print(output)


_weights_moved = click.option(
    "--weights", metavar="PATH", help="Where the backbone's weights are, if moved."
)


@main.command()
@click.argument("model", type=click.Path())
@click.argument("images", nargs=-1, required=True, type=click.Path())
@click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    default=0,
    show_default=True,
    metavar="P",
    help="Give no label to an image whose label has a smaller probability.",
)
@click.option("--outliers", is_flag=True, help="Flag images unlike those that it was fitted on.")
@_weights_moved
@_batch_size
@_max_pixels
@_device
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_context
def predict(
    ctx: click.Context, /, model: str, images: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Label IMAGES (files or folders) with a model; CSV on standard output.

    IMAGES may be - alone: paths are then read from standard input, one a line, and each is
    answered by one line as soon as it can be, so that another program can keep this one running; a
    table's first line says that it is ready.
    """
    from tlfeatures.model import Model

    stream = images == ("-",)
    if "-" in images and not stream:
        raise ParameterError("- reads paths from standard input, and must stand alone")
    loaded = Model.load(model)
    lines = _paths_from_stdin()
    made = loaded.predict_stream(lines, **options) if stream else loaded.predict(images, **options)
    note = {"weights": "random"} if loaded.spec.weights == "random" else {}
    outliers = options["outliers"]
    write = _json_writer(note) if as_json else _csv_writer(loaded.classes, outliers, note, stream)
    counts: Counter[str] = Counter()
    failures = []
    for prediction in made:
        write(prediction)
        counts["got no label, as no class is probable enough"] += prediction.abstained
        counts["flagged as outliers"] += bool(prediction.outlier)
        if prediction.error is not None and stream:
            _say_failure(prediction.path, prediction.error)  # who asked may be waiting for it
            counts["could not be read"] += 1
        elif prediction.error is not None:
            failures.append((prediction.path, prediction.error))
        if stream:
            with _writing_output():
                sys.stdout.flush()
    said = [f"{count:,} {what}" for what, count in counts.items() if count]
    if said:
        _say(", ".join(said))
    if counts["could not be read"]:
        ctx.exit(SOME_UNREADABLE)
    _exit_for_failures(ctx, failures)


def _paths_from_stdin() -> Iterator[str]:
    """One path a line, of any bytes; empty lines are none.

    By a reader of its own: a thread that waits in `sys.stdin` would crash the interpreter's end.
    """
    if sys.stdin is None:  # closed
        return
    try:
        lines: IO[bytes] = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    except OSError:  # not of a process: a test's
        lines = sys.stdin.buffer
    for line in lines:
        path = os.fsdecode(line.rstrip(b"\r\n"))
        if path:
            yield path


@main.command()
@click.argument("model", type=click.Path())
@click.argument("source", type=click.Path(), metavar="SOURCE|FILE.h5")
@_dataset_options
@_weights_moved
@_batch_size
@_max_pixels
@_device
@_seed("the intervals")
@_json
@click.pass_context
def evaluate(ctx: click.Context, /, model: str, source: str, as_json: bool, **options: Any) -> None:
    """Score MODEL on labelled images that it has not seen.

    These are a folder with one subfolder a class, or an embeddings file. Images that the model was
    fitted on, told by the sha256 of their files, are counted and left out.
    """
    from tlfeatures.evaluating import evaluate
    from tlfeatures.render import render_trial

    with _Bar() as bar:
        trial = evaluate(model, source, progress=bar.show, **options)
    _print(json.dumps(trial.to_dict()) if as_json else render_trial(trial))
    _exit_for_failures(ctx, ((item["id"], item["reason"]) for item in trial.failed))


@main.command()
@click.argument("model", type=click.Path())
@click.option(
    "-o", "--output", required=True, type=click.Path(), metavar="FILE.onnx", help="The graph."
)
@_weights_moved
@click.option(
    "--check",
    multiple=True,
    type=click.Path(),
    metavar="IMAGES",
    help="An image or a folder, repeatable: label them by ONNX Runtime and by the model, and "
    "compare both.",
)
@_json
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
    """Write MODEL as one ONNX file, from pixels to probabilities, for ONNX Runtime alone.

    It takes uint8 RGB images (n, height, width, 3) and gives probabilities and labels. It needs
    `pip install 'tlfeatures[onnx]'` to be written, and only ONNX Runtime to be used.
    """
    from tlfeatures.exporting.export import export
    from tlfeatures.render import render_export

    result = export(model, output, weights=weights, check=check or None)
    _print(json.dumps(result.to_dict()) if as_json else render_export(result))
    if result.check is not None:
        _exit_for_failures(ctx, result.check.failed.items())


@main.command()
@click.argument("file", type=click.Path(), metavar="FILE.h5|MODEL")
@_json
def info(file: str, as_json: bool) -> None:
    """Say what an embeddings file or a model file is; nothing in it is executed."""
    from tlfeatures.info import describe
    from tlfeatures.render import render_info

    facts = describe(file)
    _print(json.dumps(facts) if as_json else render_info(facts))


@main.command()
@click.argument("file", type=click.Path(), metavar="FILE.h5")
@click.option(
    "--source",
    type=click.Path(),
    metavar="DIR",
    help="The folder of its images: hash them, and embed some again.",
)
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=16,
    show_default=True,
    metavar="N",
    help="Images that are embedded again.",
)
@click.option(
    "--mend",
    is_flag=True,
    help="Unmark damaged rows, so that the next `extract` computes them again.",
)
@_weights_moved
@_max_pixels
@_device
@_json
@click.pass_context
def verify(ctx: click.Context, /, file: str, as_json: bool, **options: Any) -> None:
    """Check every row of FILE.h5, and with --source its images and the backbone.

    Marks, finite values, checksums; which images were added, changed or removed; whether a sample
    embeds to the same values. Each finding says what to do. It only reads, but for --mend. Exit
    code 1: something was found.
    """
    from tlfeatures.features.verify import verify
    from tlfeatures.render import render_verification

    with _Bar("checking", "rows/s") as bar:
        result = verify(file, progress=bar.show, **options)
    _print(json.dumps(result.to_dict()) if as_json else render_verification(result))
    if not result.ok:
        ctx.exit(FAILED)


@main.command()
@click.argument("file", type=click.Path(), metavar="FILE.h5")
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="ONE.h5",
    help="File to create; FILE.h5 and its shards stay.  [default: replace FILE.h5]",
)
@_json
def merge(file: str, output: str | None, as_json: bool) -> None:
    """Put all rows into one file, where `extract --cluster` left them in shards beside FILE.h5.

    Without -o, FILE.h5 is replaced and its shards are removed.
    """
    from tlfeatures.features.merge import merge
    from tlfeatures.render import render_merging

    with _Bar("merging", "rows/s") as bar:
        result = merge(file, output, progress=bar.show)
    _print(json.dumps(result.to_dict()) if as_json else render_merging(result))


@main.command()
@click.option(
    "--out",
    type=click.Path(),
    default="tlfeatures-demo",
    show_default=True,
    metavar="DIR",
    help="Folder for the images, the embeddings and the model.",
)
@_json
def demo(out: str, as_json: bool) -> None:
    """Run the whole chain on handwritten digits that scikit-learn carries."""
    from tlfeatures.demo import PER_CLASS, run_demo
    from tlfeatures.render import render_extraction, render_fit

    images = 10 * PER_CLASS
    _say(f"{images} handwritten digits, 10 classes; {_BACKBONE.title} first gets its weights.")
    with _Bar() as bar:
        extraction, report = run_demo(out, progress=bar.show)
    if as_json:
        _print(json.dumps({"extract": extraction.to_dict(), "fit": report.to_dict()}))
    else:
        _print(f"{render_extraction(extraction)}\n\n{render_fit(report)}")


# ---- output


class _Bar:
    """A progress bar on standard error with speed and time left; none if it is no terminal."""

    def __init__(self, label: str = "embedding", unit: str = "images/s") -> None:
        self._label, self._unit = label, unit
        self._stack = ExitStack()
        self._bar: Any = None
        self._done = 0
        self._start = (0.0, 0)  # when the first batch was done, and how many images it held

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *details: Any) -> None:
        self._stack.close()

    def show(self, done: int, total: int) -> None:
        """Draw that `done` of `total` are done."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            bar = click.progressbar(
                length=total,
                label=self._label,
                show_pos=True,
                file=sys.stderr,
                item_show_func=lambda speed: speed or "",
            )
            self._bar = self._stack.enter_context(bar)
            self._start = (time.perf_counter(), done)
        seconds = time.perf_counter() - self._start[0]
        speed = (done - self._start[1]) / seconds if done > self._start[1] else 0
        self._bar.update(done - self._done, f"{speed:.1f} {self._unit}" if speed else None)
        self._done = done


class _Bars:
    """A progress bar for each of several works, one after the other."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._label: str | None = None
        self._bar = _Bar()

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *details: Any) -> None:
        self._stack.close()

    def show(self, label: str, done: int, total: int) -> None:
        """Draw that `done` of `total` of this work are done."""
        if label != self._label:
            self._stack.close()
            self._label, self._bar = label, self._stack.enter_context(_Bar(label, "fits/s"))
        self._bar.show(done, total)


def _json_writer(note: dict[str, str]) -> Callable[[Prediction], None]:
    def write(prediction: Prediction) -> None:
        row: dict[str, Any] = {"path": prediction.path}
        if prediction.error is None:
            row |= {"label": prediction.label, "probabilities": prediction.probabilities, **note}
            if prediction.outlier is not None:
                known = prediction.distance is not None and math.isfinite(prediction.distance)
                row |= {
                    "outlier": prediction.outlier,
                    "distance": prediction.distance if known else None,  # JSON has no infinity
                }
        else:
            row["error"] = prediction.error
        _print(json.dumps(row))

    return write


def _csv_writer(
    classes: list[str], outliers: bool, note: dict[str, str], ready: bool
) -> Callable[[Prediction], None]:
    """Write a row for each image; `ready`: write the header at once, to say that it can begin.

    The probabilities are in columns `p_CLASS`, so that no class has the name of another column.
    """
    writer = csv.DictWriter(sys.stdout, _csv_columns(classes, outliers, note), lineterminator="\n")
    with _writing_output():
        writer.writeheader()
        if ready:
            sys.stdout.flush()

    def write(prediction: Prediction) -> None:
        with _writing_output():
            writer.writerow(row_of(prediction))

    def row_of(prediction: Prediction) -> dict[str, str]:
        if prediction.error is not None:
            return {"path": prediction.path, "error": _one_line(prediction.error)}
        row = {"path": prediction.path, "label": prediction.label or "", **note}
        row |= {f"p_{name}": f"{prediction.probabilities[name]:.6f}" for name in classes}
        if prediction.distance is not None:
            row["outlier"] = "yes" if prediction.outlier else "no"
            row["distance"] = f"{prediction.distance:.3f}"
        return row

    return write


def _csv_columns(classes: list[str], outliers: bool, note: dict[str, str]) -> list[str]:
    return [
        "path",
        "label",
        *(f"p_{name}" for name in classes),
        *(["outlier", "distance"] if outliers else []),
        *note,
        "error",
    ]


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Be asked to stop by a signal, and say so.

    On a standard error of its own: loading TensorFlow turns ours aside for a while.
    """
    from tlfeatures.stopping import Stopping

    with ExitStack() as stack:
        own = None
        with suppress(AttributeError, OSError):  # there is none, or it is a test's
            own = stack.enter_context(os.fdopen(os.dup(sys.stderr.fileno()), "w"))

        def say(begun: bool) -> None:
            beside_a_bar = "\n" if own is not None and own.isatty() else ""
            after = " after this batch" if begun else ""
            line = f"{beside_a_bar}Stopping{after}; a second signal stops at once."
            click.echo(line, file=own, err=True)

        with Stopping(say) as stopping:
            yield stopping


def _exit_for_failures(ctx: click.Context, failures: Iterable[tuple[str, str]]) -> None:
    failures = list(failures)
    for name, reason in failures:
        _say_failure(name, reason)
    if failures:
        ctx.exit(SOME_UNREADABLE)


def _say_failure(name: str, reason: str) -> None:
    _say(_one_line(f"can't read {name}: {reason}"))


def _one_line(text: str) -> str:
    """Write what can't be printed as an escape: names of files may hold newlines, and worse."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
