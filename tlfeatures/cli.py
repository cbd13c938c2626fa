"""The command line: each command parses its options, calls one library function and prints.

Results go to standard output, everything else goes to standard error. `_Commands.invoke` turns
errors into exit codes: 0 done, 1 the job failed, 2 wrong usage, 3 done but some images could not be
read.
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
    from tlfeatures.benchmarking.benchmark import Benchmark
    from tlfeatures.models.model import Prediction

# The commands import the libraries, so that `--help` is fast.

FAILED, WRONG_USAGE, SOME_UNREADABLE = 1, 2, 3

_COMMAND_LINE = "tlfeatures.command"  # key of the command line, which files record
_BACKBONE = BACKBONES[DEFAULT_BACKBONE]

Function = TypeVar("Function", bound=Callable[..., Any])


_STREAMS = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))


def _open_closed_streams() -> None:
    """Open the null device for each standard stream that is closed, as by `>&-`.

    Otherwise the next file to be opened gets the number of that stream, and text that a library
    prints goes into the file.
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
        if getattr(sys, name) is None and number:  # sys.stdin stays None: there is no input
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _finish_writing(stream: IO[str] | None) -> OSError | None:
    """Flush a stream; return the error if it can't be written, and discard the text.

    Text that is still buffered when Python ends would cause a traceback and another exit code.
    """
    if stream is None:
        return None
    try:
        stream.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # a stream of a test has no number
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
    """Say that standard output can't be written, if this is what failed."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of our output has ended; click handles it
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
    """Print a usage error, if standard error can be written; return its exit code."""
    with suppress(OSError):
        error.show()
    return error.exit_code


class _Command(click.Command):
    """A command whose help is an ordinary result: a full disk is reported in one line."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _writing_output():
            return super().make_context(*args, **kwargs)


_AGAIN = " Run the same command again to continue"
_HOW_TO_CONTINUE = {
    "extract": f"{_AGAIN}.",
    "demo": f"{_AGAIN}.",
    "benchmark": f"{_AGAIN}, if it has -o DIR.",
}


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
        except OSError as error:  # the help can't be written
            failed, code = error, FAILED
        refused = _finish_writing(sys.stdout)
        if refused is not None:
            failed, code = refused, code if code in (FAILED, WRONG_USAGE) else FAILED
        if failed is not None and failed.errno != errno.EPIPE:  # EPIPE: the reader has ended
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
            raise  # the reader of our output has ended; click handles it
        except OSError as error:
            named = f"{error.filename}: " if error.filename else ""
            _say(f"Error: {_one_line(named)}{error.strerror or error}")
            ctx.exit(FAILED)
        except KeyboardInterrupt:
            _say(f"\nInterrupted.{_HOW_TO_CONTINUE.get(ctx.invoked_subcommand or '', '')}")
            ctx.exit(FAILED)


class _Once(logging.Filter):
    """Shows each message about labels once: a benchmark loads them for every embedding."""

    _of_labels = (
        "tlfeatures.dataset.dataset",
        "tlfeatures.dataset.labels",
        "tlfeatures.dataset.label_tables",
    )

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
@click.option("-v", "--verbose", is_flag=True, help="Print more messages.")
def main(verbose: bool) -> None:
    """Train good image classifiers on few images.

    Each image passes once through a frozen neural network, and its embeddings are stored in a file.
    Classifiers ("heads") are then fitted to the embeddings and compared in seconds:

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
    # Messages that explain a wait or give an address: downloads, calibration, the dashboard.
    for name in ("backbones.download", "calibrate", "cluster"):
        logging.getLogger(f"tlfeatures.features.{name}").setLevel(logging.INFO)
    # Pillow warns of unusual metadata, which doesn't matter: only the pixels are used.
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _backbone_options(function: Function) -> Function:
    """Options of how images become embeddings; an option left out keeps the file's value."""
    for option in (
        click.option(
            "--random-state",
            type=click.IntRange(min=0),
            metavar="N",
            help="Seed of the weights if they are random.  [default: 0]",
        ),
        click.option(
            "--augment-spec",
            metavar="NAME=VALUE,...",
            help="How variants differ from their image: rotation is the largest angle in degrees; "
            "zoom, shift and brightness are the largest changes as fractions; horizontal_flip and "
            "vertical_flip allow mirror images; seed is a number. Example: "
            "rotation=10,shift=0.1,seed=1.  [default: rotation=30,zoom=0.2,horizontal_flip]",
        ),
        click.option(
            "--augment",
            type=click.IntRange(min=0),
            metavar="N",
            help="Also embed N random variants of each image. Heads are trained on the variants of "
            "their training images. They are scored on images only.  [default: 0]",
        ),
        click.option(
            "--dtype",
            type=click.Choice(["float32", "float16"]),
            help="Number format of the embeddings in the file.  [default: float32]",
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "bfloat16", "int8"]),
            help="Number format of the forward pass. auto is bfloat16 if the hardware supports it, "
            "else float32. int8 needs OpenVINO and is calibrated on 64 of the images.  "
            "[default: auto]",
        ),
        click.option(
            "--engine",
            type=click.Choice(["auto", "keras", "openvino", "ncnn"]),
            help="Library that computes the forward pass. auto is the fastest one that is "
            "installed. To install the last two: pip install 'tlfeatures[openvino,ncnn]'.  "
            "[default: auto]",
        ),
        click.option(
            "--weights",
            metavar="imagenet|random|PATH",
            help="Weights of the backbone. PATH is an HDF5 file of Keras weights.  "
            "[default: imagenet]",
        ),
        click.option(
            "--value-range",
            metavar="LO,HI",
            help="Values that become black and white, for images with more than 8 bits per "
            "channel. Example: 0,4095 for a 12-bit camera.  [default: the range that the image "
            "file states, or 0,65535]",
        ),
        click.option(
            "--size",
            metavar="N|H,W",
            help="Size in pixels to which images are resized: one side, or height and width as in "
            "150,200.  [default: 224]",
        ),
        click.option(
            "--pool",
            "pools",
            multiple=True,
            type=click.Choice(POOLINGS),
            help="How a feature map becomes a vector: avg and max take the mean and the maximum "
            "of each channel, flatten keeps all values. none is for layers that are vectors. "
            "Repeatable.  [default: avg]",
        ),
        click.option(
            "--layer",
            "layers",
            multiple=True,
            metavar="LAYER[.POOLING]",
            help=f"Layer to embed: for {_BACKBONE.name}, {_BACKBONE.layers_in_words()}. "
            f"LAYER.POOLING also sets the pooling of this layer. Repeatable.  "
            f"[default: {_BACKBONE.default_layer}; for pixels, grid8]",
        ),
        click.option(
            "--backbone",
            metavar="|".join(BACKBONES),
            help="Frozen network. pixels is a baseline without a network: mean colours in a grid "
            f"(layers grid4, grid8 and mean).  [default: {DEFAULT_BACKBONE}]",
        ),
    ):
        function = option(function)
    return function


_device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="Device of the forward pass. auto is a GPU if there is one.",
)


class _BatchSize(click.ParamType):  # type: ignore[type-arg]
    """A whole number of at least 1, or auto."""

    name = "batch_size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | str:
        if value == "auto":
            return "auto"
        try:
            return click.IntRange(min=1).convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is neither a whole number of at least 1 nor auto", param, ctx)


_batch_size = click.option(
    "--batch-size",
    type=_BatchSize(),
    metavar="N|auto",
    default="auto",
    show_default=True,
    help="Images per forward pass. auto is a size that is fast and fits into memory.",
)
_max_pixels = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=178_956_970,
    show_default=True,
    metavar="N",
    help="Refuse an image with more than N pixels before it is decoded.",
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
    """Options of a Dask cluster; `_pop_cluster` turns them into arguments of the library."""
    files = {
        "--tls-ca-file": "Certificate of the authority that signed the certificates of a tls:// "
        "cluster.",
        "--tls-cert": "Certificate of this client.",
        "--tls-key": "Private key of the client's certificate.",
    }
    for name in reversed(files):
        function = click.option(name, type=click.Path(), metavar="PEM", help=files[name])(function)
    return click.option(
        "--cluster",
        metavar="tcp://HOST:PORT|local",
        help="Compute on the workers of this Dask scheduler, for example tcp://10.0.0.1:8786. "
        "local starts one worker per core on this machine. Install Dask with: pip install "
        "'tlfeatures[cluster]'.",
    )(function)


def _pop_cluster(options: dict[str, Any]) -> dict[str, Any]:
    """Remove `_cluster_options` from the options; return the arguments `cluster` and `tls`."""
    cluster = options.pop("cluster")
    files = [options.pop(name) for name in ("tls_ca_file", "tls_cert", "tls_key")]
    if not any(files):
        return {"cluster": cluster, "tls": None}
    if cluster is None or not all(files):
        raise ParameterError(
            "give --tls-ca-file, --tls-cert and --tls-key together, and with --cluster "
            "tls://HOST:PORT"
        )
    from tlfeatures.features.cluster.connect import TLS

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
        from tlfeatures.reports.report import check_page

        check_page(page)


def _write_page(benchmark: Benchmark, page: str, **options: Any) -> None:
    from tlfeatures.reports.report import write_report
    from tlfeatures.terminal.render import render_report

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
    help="File for the embeddings. It is created, or updated if it exists.",
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
    help="Do not read images whose size and modification time have not changed.",
)
@_batch_size
@_max_pixels
@_device
@_cluster_options
@click.option(
    "--shards",
    type=click.Path(),
    metavar="DIR|URL",
    help="With --cluster: folder into which the workers write shards, for example "
    "s3://bucket/shards. At the end, all rows are copied into FILE.h5 and the shards are removed.  "
    "[default: FILE.h5.shards, where the shards stay and FILE.h5 refers to them]",
)
@_json
@click.pass_context
def extract(ctx: click.Context, /, source: str, file: str, as_json: bool, **options: Any) -> None:
    """Embed the images of a folder into FILE.h5.

    SOURCE is a path or a URL such as s3://bucket/photos. It has one subfolder per class, optionally
    under train/, val/ and test/.

    Run the command again after you add, move or rename images, or with another --layer: it computes
    only what is missing. Options you leave out keep the values stored in the file. Ctrl-C or
    SIGTERM stops the run after the current batch.
    """
    with _stopping() as stop, _Bar() as bar:
        from tlfeatures.features.extract import extract
        from tlfeatures.terminal.render import render_extraction

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
    from tlfeatures.benchmarking.fit import fit
    from tlfeatures.heads.table import parse_params
    from tlfeatures.terminal.render import render_fit

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
    from tlfeatures.benchmarking.run import benchmark
    from tlfeatures.heads.table import parse_params
    from tlfeatures.terminal.render import render_benchmark

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
    from tlfeatures.model_selection.audit.audit import audit
    from tlfeatures.terminal.render import render_audit

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
    from tlfeatures.heads.table import parse_params
    from tlfeatures.model_selection.learning_curve.measure import learning_curve
    from tlfeatures.terminal.render import render_learning_curve

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
    from tlfeatures.reports.report import report
    from tlfeatures.terminal.render import render_report

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
    from tlfeatures.reports.report import plot

    with _Bars() as bars:
        plot(folder, what, output, progress=bars.show, **options)
    _print(output)


_weights_moved = click.option(
    "--weights", metavar="PATH", help="Path of the backbone's weights, if the file was moved."
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
    """Label images with MODEL and print a CSV table.

    IMAGES are files or folders. A single - reads paths from standard input, one per line. The
    command then prints one line for each path as soon as it can, so that another program can keep
    it running. The header of the table shows that the model is loaded.
    """
    from tlfeatures.models.model import Model

    stream = images == ("-",)
    if "-" in images and not stream:
        raise ParameterError("- reads paths from standard input: give no other images with it")
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
    """Read one path per line, which may hold any bytes; skip empty lines.

    It opens standard input once more: a thread that waits in `sys.stdin` would crash the
    interpreter when it ends.
    """
    if sys.stdin is None:  # closed
        return
    try:
        lines: IO[bytes] = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    except OSError:  # a test replaced standard input
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
    from tlfeatures.models.evaluate import evaluate
    from tlfeatures.terminal.render import render_trial

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
    from tlfeatures.models.export.export import export
    from tlfeatures.terminal.render import render_export

    result = export(model, output, weights=weights, check=check or None)
    _print(json.dumps(result.to_dict()) if as_json else render_export(result))
    if result.check is not None:
        _exit_for_failures(ctx, result.check.failed.items())


@main.command()
@click.argument("file", type=click.Path(), metavar="FILE.h5|MODEL")
@_json
def info(file: str, as_json: bool) -> None:
    """Describe an embeddings file or a model file.

    Nothing in the file is executed.
    """
    from tlfeatures.models.describe import describe
    from tlfeatures.terminal.render import render_info

    facts = describe(file)
    _print(json.dumps(facts) if as_json else render_info(facts))


@main.command()
@click.argument("file", type=click.Path(), metavar="FILE.h5")
@click.option(
    "--source",
    type=click.Path(),
    metavar="DIR",
    help="Folder of the images: hash all of them and embed a sample again.",
)
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=16,
    show_default=True,
    metavar="N",
    help="Number of images to embed again.",
)
@click.option(
    "--mend",
    is_flag=True,
    help="Mark damaged rows as missing, so that the next `extract` computes them again.",
)
@_weights_moved
@_max_pixels
@_device
@_json
@click.pass_context
def verify(ctx: click.Context, /, file: str, as_json: bool, **options: Any) -> None:
    """Check the rows of FILE.h5, its images and its backbone.

    The command reads every row and compares it with its checksum. With --source, it also lists the
    images that were added, changed or removed, and embeds a sample again to compare the values.
    Each finding says what to do. Only --mend changes the file.

    The exit code is 1 if something was found.
    """
    from tlfeatures.features.verify import verify
    from tlfeatures.terminal.render import render_verification

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
    help="File to create. FILE.h5 and its shards are kept.  [default: replace FILE.h5]",
)
@_json
def merge(file: str, output: str | None, as_json: bool) -> None:
    """Merge FILE.h5 and its shards into one file.

    `extract --cluster` writes the rows into shards, in a folder next to FILE.h5. Without -o, the
    merged file replaces FILE.h5 and the shards are removed.
    """
    from tlfeatures.features.merge import merge
    from tlfeatures.terminal.render import render_merging

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
    help="Folder for the images, the embeddings file and the model.",
)
@_json
def demo(out: str, as_json: bool) -> None:
    """Try all steps on the handwritten digits of scikit-learn.

    The command writes the digits as images, embeds them, compares three heads and saves the best.
    """
    from tlfeatures.terminal.demo import PER_CLASS, run_demo
    from tlfeatures.terminal.render import render_extraction, render_fit

    images = 10 * PER_CLASS
    _say(f"{images} handwritten digits, 10 classes. The first run may download weights.")
    with _Bar() as bar:
        extraction, report = run_demo(out, progress=bar.show)
    if as_json:
        _print(json.dumps({"extract": extraction.to_dict(), "fit": report.to_dict()}))
    else:
        _print(f"{render_extraction(extraction)}\n\n{render_fit(report)}")


# ---- output


class _Bar:
    """A progress bar with speed and time left, shown if standard error is a terminal."""

    def __init__(self, label: str = "embedding", unit: str = "images/s") -> None:
        self._label, self._unit = label, unit
        self._stack = ExitStack()
        self._bar: Any = None
        self._done = 0
        self._start = (0.0, 0)  # time after the first batch, and its number of images

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *details: Any) -> None:
        self._stack.close()

    def show(self, done: int, total: int) -> None:
        """Update the bar: `done` of `total` are done."""
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
    """A progress bar for each of several steps, one after the other."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._label: str | None = None
        self._bar = _Bar()

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *details: Any) -> None:
        self._stack.close()

    def show(self, label: str, done: int, total: int) -> None:
        """Update the bar of this step: `done` of `total` are done."""
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
    """Write a row for each image; `ready`: flush the header, which shows that work can begin.

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
    """Handle signals that ask to stop, and confirm them on standard error.

    It opens standard error once more, because ours is redirected while TensorFlow loads.
    """
    from tlfeatures.terminal.stopping import Stopping

    with ExitStack() as stack:
        own = None
        with suppress(AttributeError, OSError):  # closed, or replaced by a test
            own = stack.enter_context(os.fdopen(os.dup(sys.stderr.fileno()), "w"))

        def say(begun: bool) -> None:
            after_bar = "\n" if own is not None and own.isatty() else ""
            after = " after this batch" if begun else ""
            line = f"{after_bar}Stopping{after}; a second signal stops at once."
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
    """Escape characters that can't be printed: names of files may hold newlines."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
