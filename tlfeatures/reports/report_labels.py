"""The function `report_labels`: it writes a page of new images with their labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tlfeatures.errors import ParameterError
from tlfeatures.features.images.inputs import Images
from tlfeatures.file_result import FileResult
from tlfeatures.files import replace_file
from tlfeatures.html_tables import Cell
from tlfeatures.models.fitted_head import FittedHead
from tlfeatures.models.predictions import Prediction
from tlfeatures.names import counted, shortened
from tlfeatures.progress import Progress, shown_progress
from tlfeatures.reports.output import check_page

_EXPECTED = "expected the result of Model.predict or Model.iter_predict"


@dataclass(frozen=True, repr=False)
class LabelReport(FileResult):
    """Facts about the page that `report_labels` has written.

    Attributes
    ----------
    file : str
        Path of the page.
    bytes : int
        Size of the page.
    images : int
        Number of images that have a prediction.
    shown : int
        Number of images that the page shows.
    unreadable : int
        Number of images that could not be read.
    """

    bytes: int
    images: int
    shown: int
    unreadable: int

    def _about(self) -> str:
        return f"{counted(self.images, 'image')}, {self.bytes / 1e6:.1f} MB"

    def _facts(self) -> Mapping[str, Cell]:
        return {"shown": self.shown, "unreadable": self.unreadable or None}


def report_labels(
    predictions: Iterable[Prediction],
    output: str | os.PathLike[str],
    *,
    model: FittedHead | str | os.PathLike[str],
    inputs: Images | None = None,
    model_name: str | None = None,
    title: str | None = None,
    progress: bool | Progress | None = None,
) -> LabelReport:
    """Write new images with their labels as one HTML page, which needs no network connection.

    The least confident images come first. The page has at most 2,000 images and about 5 MB: of
    more images, it shows outliers and the least confident ones, and the counts of all.

    Parameters
    ----------
    predictions : iterable of Prediction
        The result of `Model.predict` or `Model.iter_predict`. Give `outliers=True` there to flag
        outliers.
    output : path
        File for the page. An existing file is replaced.
    model : Model or path
        The model that the predictions come from, or its file.
    inputs : path, or sequence of path, optional
        What was given to `Model.predict`. It is needed for pictures of images in archives, and of
        parts of images. If not given, the paths of the predictions are those of image files.
    model_name : str, optional
        Name of the model on the page. The default is the name of its file, if `model` is a path.
    title : str, optional
        Title of the page. The default is the number of images.
    progress : bool or callable of (done, total), optional
        Counts the pictures. See `extract`.

    Returns
    -------
    LabelReport

    Raises
    ------
    ParameterError
        If the output has another ending than .html or can't be created, or the predictions are
        something else, or have classes that the model doesn't have.
    OutputError
        If the page can't be written. An existing file is kept.

    Examples
    --------
    >>> model = Model.load("photos.model")  # doctest: +SKIP
    >>> report_labels(model.predict("new"), "labels.html", model=model)  # doctest: +SKIP
    """
    from tlfeatures.reports.labels_page.contents import labels_page
    from tlfeatures.reports.labels_page.originals import find_labelled
    from tlfeatures.reports.labels_page.shown_images import ShownImages
    from tlfeatures.reports.page.write import render

    check_page(output)
    if not isinstance(model, FittedHead):
        model_name, model = model_name or Path(model).name, FittedHead.load(model)
    shown = ShownImages.of(_checked(predictions, model))
    images = shown.images()
    originals = find_labelled([image.path for image in images], inputs, model)
    names = {"title": title, "model": model_name}
    with shown_progress(progress, "pictures", "images") as show:
        page = labels_page(shown, originals, images, model, names, show)
    html = render("tlfeatures.reports.labels_page", "labels", page.contents)
    data = html.encode("utf-8", "replace")
    replace_file(Path(output), data)
    summary = shown.summary
    return LabelReport(str(output), len(data), summary.images, page.images, summary.unreadable)


def _checked(predictions: Iterable[Prediction], model: FittedHead) -> Iterator[Prediction]:
    """Check while they come that these are predictions of the model."""
    if not isinstance(predictions, Iterable):
        raise ParameterError(f"predictions is a {type(predictions).__name__}; {_EXPECTED}")
    for prediction in predictions:
        if not isinstance(prediction, Prediction):
            raise ParameterError(f"predictions has a {type(prediction).__name__}; {_EXPECTED}")
        if prediction.label is not None and prediction.label not in model.classes:
            raise ParameterError(
                f"the predictions have the class {shortened(prediction.label)!r}, which the model "
                "doesn't have; give the model that they come from"
            )
        yield prediction
