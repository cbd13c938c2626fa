"""The functions `report` and `plot`: they write a page, or one figure, of a benchmark."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlfeatures.benchmarking.benchmark_result import Benchmark, load_with_predictions_of
from tlfeatures.benchmarking.comparison import Rank
from tlfeatures.benchmarking.fit_result import FitResult
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.file_result import FileResult
from tlfeatures.files import replace_file
from tlfeatures.html_tables import Cell
from tlfeatures.names import counted, unknown_name
from tlfeatures.reports.benchmark_analyses import Analyses, Steps, ranks_of
from tlfeatures.reports.diagnostics import METHODS, confusion, precision_recall, reliability, roc
from tlfeatures.reports.drawing.confusion_matrix import ConfusionDisplay
from tlfeatures.reports.drawing.curves import (
    PrecisionRecallDisplay,
    ReliabilityDisplay,
    RocDisplay,
)
from tlfeatures.reports.drawing.display import Display
from tlfeatures.reports.drawing.figure_files import SUFFIXES
from tlfeatures.reports.drawing.heads import HeatMapDisplay, RankingDisplay
from tlfeatures.reports.drawing.image_map import EmbeddingMapDisplay
from tlfeatures.reports.drawing.progress_curves import LearningCurveDisplay, TrainingCurveDisplay
from tlfeatures.reports.output import check_output, check_page


@dataclass(frozen=True, repr=False)
class Report(FileResult):
    """Facts about the page that `report` has written.

    Attributes
    ----------
    file : str
        Path of the page.
    bytes : int
        Size of the page.
    images : int
        Number of images that the page shows.
    sections : list of str
        Names of the optional sections of the page.
    """

    bytes: int
    images: int
    sections: list[str]

    def _about(self) -> str:
        return f"{self.bytes / 1e6:.1f} MB, {counted(self.images, 'image')}"

    def _facts(self) -> Mapping[str, Cell]:
        return {"optional sections": ", ".join(self.sections) or "none"}


def report(
    results: str | os.PathLike[str] | Benchmark | FitResult,
    output: str | os.PathLike[str],
    *,
    data: Dataset | Sequence[Dataset] = (),
    head: str | None = None,
    embedding: str | None = None,
    images: str | None = None,
    without: str | Collection[str] = (),
    map: str = "pca",  # noqa: A002
    title: str | None = None,
    n_jobs: int | None = -1,
    progress: bool | Steps | None = None,
) -> Report:
    """Write the report of a benchmark: one HTML page, which needs no network connection.

    Parameters
    ----------
    results : path, Benchmark or FitResult
        Folder of a benchmark, or the result of `benchmark` or `fit`.
    output : path
        File for the page. An existing file is replaced.
    data : Dataset or sequence of Dataset
        Datasets of the benchmark, which are then not loaded from their files.
    head, embedding : str, optional
        Head and embedding whose predictions are shown in detail. The default is the best of the
        ranking.
    images : str, optional
        Folder of the images, if they were moved since they were embedded.
    without : str or collection of str
        Sections to leave out: images, map, audit, learning-curve, epochs.
    map : {"pca", "tsne"}
        Method of the map; see `embedding_map`.
    title : str, optional
        Title of the page. The default is the names of the classes.
    n_jobs : int or None
        Number of folds that are fitted at the same time for the learning curve, the epochs and the
        audit. These results are stored in the folder of the benchmark.
    progress : bool or callable of (analysis, done, total), optional
        A callable is called after each step of an analysis, and after each picture. Else see
        `extract`.

    Returns
    -------
    Report

    Raises
    ------
    ParameterError
        If there is no benchmark in the folder, or it does not have the head or embedding.
    FormatError
        If the folder is damaged.
    OutputError
        If the page can't be written. An existing file is kept.

    Examples
    --------
    >>> report("results", "report.html", without=["audit"])  # doctest: +SKIP
    >>> report(benchmark(data), "report.html", data=data)  # doctest: +SKIP
    """
    from tlfeatures.reports.page.contents import Options, contents
    from tlfeatures.reports.page.write import PAGE, render

    check_page(output)
    wanted = Options(head, embedding, images, without, map, title)
    wanted.check()
    given = [data] if isinstance(data, Dataset) else list(data)
    point: list[str] = []
    if isinstance(results, FitResult):
        point = results.point_sentences
        given = given or [results.data]
        results = results.benchmark
    benchmark = (
        results
        if isinstance(results, Benchmark)
        else load_with_predictions_of(results, lambda of: ranks_of(of, head, embedding)[0])
    )
    analyses = Analyses(benchmark, given, n_jobs=n_jobs, progress=progress)
    shown = {**contents(analyses, wanted), "operating_point": point}
    html = render(PAGE, "page", shown).encode("utf-8", "replace")
    replace_file(Path(output), html)
    pictures = sum(picture is not None for picture in shown["album"]["pictures"])
    optional = ("probabilities", "learning_curve", "epochs", "map", "audit", "copies")
    return Report(
        str(output), len(html), pictures, [name for name in optional if shown[name] is not None]
    )


# ---- one figure

FIGURES: dict[str, Callable[[Analyses, Rank, str], Display]] = {
    "ranking": lambda of, rank, method: RankingDisplay(of.benchmark.comparison),
    "heat-map": lambda of, rank, method: HeatMapDisplay(of.benchmark.comparison),
    "confusion": lambda of, rank, method: ConfusionDisplay(confusion(of.predictions(rank))),
    "reliability": lambda of, rank, method: ReliabilityDisplay(reliability(of.predictions(rank))),
    "roc": lambda of, rank, method: RocDisplay(roc(of.predictions(rank))),
    "precision-recall": lambda of, rank, method: PrecisionRecallDisplay(
        precision_recall(of.predictions(rank))
    ),
    "accuracy": lambda of, rank, method: TrainingCurveDisplay(of.training(rank), "accuracy"),
    "loss": lambda of, rank, method: TrainingCurveDisplay(of.training(rank), "loss"),
    "learning-curve": lambda of, rank, method: LearningCurveDisplay(of.learning_curve(rank)),
    "map": lambda of, rank, method: _map(of, rank, method),
}


def _map(of: Analyses, rank: Rank, method: str) -> Display:
    rows, points = of.map(rank, method)
    return EmbeddingMapDisplay(points, of.dataset(rank).y[rows], of.wrong(rank)[rows])


_BY_EPOCH = ("accuracy", "loss")
_OF_ALL = ("ranking", "heat-map")  # figures of all heads


def plot(
    folder: str | os.PathLike[str],
    what: str,
    output: str | os.PathLike[str],
    *,
    head: str | None = None,
    embedding: str | None = None,
    map: str = "pca",  # noqa: A002
    n_jobs: int | None = -1,
    progress: bool | Steps | None = None,
) -> None:
    """Draw one figure of a benchmark into a file.

    Parameters
    ----------
    folder : path
        Folder of a benchmark.
    what : str
        Name of a figure in `FIGURES`. `accuracy` and `loss` are the training curves of the best
        head that trains in epochs.
    output : path
        File whose name ends in .png, .svg or .pdf.
    head, embedding : str, optional
        Head and embedding to draw. The default is the best of the ranking.
    map : {"pca", "tsne"}
        Method of the map; see `embedding_map`.
    n_jobs, progress
        See `report`.

    Raises
    ------
    ParameterError
        If the figure or the type of the file is unknown, or there is nothing to draw.
    OutputError
        If the file can't be written. An existing file is kept.

    See Also
    --------
    tlfeatures.ConfusionDisplay, tlfeatures.RankingDisplay : draw on your own axes.
    """
    if what not in FIGURES:
        raise unknown_name("figure", what, FIGURES)
    if map not in METHODS:
        raise unknown_name("map", map, METHODS)
    check_output(output, SUFFIXES)
    benchmark = load_with_predictions_of(folder, lambda of: ranks_of(of, head, embedding)[0])
    analyses = Analyses(benchmark, n_jobs=n_jobs, progress=progress)
    ranks = analyses.ranks(head, embedding)
    rank = ranks[0]
    if what in _BY_EPOCH:
        rank = analyses.in_epochs(ranks) or rank
    display = FIGURES[what](analyses, rank, map).plot()
    if what not in _OF_ALL:
        display.ax_.set_title(rank.name, loc="left", fontsize=9)
    display.save(output)
