"""The audit of a dataset: a list of probable errors in labels and images, the worst first.

There are four kinds of findings:

- **near-duplicate**: two images that show the same photo, according to their files or their
  embeddings (`tlfeatures.dataset.duplicates`), are in two classes or in two of the given splits. In
  two classes, one label is certainly wrong. In two splits, scores are too good. Copies within one
  class and one split are harmless and are not listed.
- **label**: confident learning (Northcutt, Jiang and Chuang, Confident learning: estimating
  uncertainty in dataset labels, Journal of Artificial Intelligence Research 70, 2021, 1373-1411),
  as the library cleanlab computes it from out-of-fold probabilities. An image off the diagonal of
  the confident joint is listed: the probability of another class is at least as high as its mean
  over the images of that class. Copies and groups are in the same fold, so that a mislabelled copy
  does not confirm its own label.
- **outlier**: images far from their 10th nearest image (Ramaswamy, Rastogi and Shim, Efficient
  algorithms for mining outliers from large data sets, SIGMOD 2000), by the distance of
  `tlfeatures.dataset.duplicates`. The logarithm of the distance is taken relative to the median of
  the image's class, so that not all images of a small or varied class are outliers. Images beyond
  3.5 robust deviations (1.4826 times the median absolute deviation) are listed. This is the limit
  of Iglewicz and Hoaglin (How to detect and handle outliers, 1993).
- **unreadable**: images that `extract` could not read, with the reason. They have no embedding, so
  the other methods do not include them.

An image with several findings among label errors, outliers and copies in two classes is listed
once, with its worst finding.

The order is: copies in two classes, copies in two splits, unreadable images, and then label errors
and outliers together. Within each of these parts, findings are sorted by the score, a measure of
certainty:

==============  ==================================================================================
near-duplicate  1 for identical files, or the similarity of `tlfeatures.dataset.duplicates` among
                the labelled images, and at least the limit of the search among all images
unreadable      1
label           (1 + p(suggested) - p(given)) / 2: 0.5 is a tie, 1 is certain
outlier         1 - 3.5 / (2 z), z the robust deviations: 0.5 at the limit, 0.75 at twice the limit
==============  ==================================================================================

The default head was chosen by an experiment with VGG16 at 224, block5_pool.avg, on 1,078 landscapes
(Intel; glacier or mountain). The labels of 54 images were flipped. The table shows how many of the
54 images are among the first 25, 50 and 100 images by the score, for one 5-fold cross-validation
and for the mean of three. The numbers are means over six random choices of the 54 images:

===================  ===================  ===================
head                 one                  three
===================  ===================  ===================
logreg               12.0   21.7   35.0   12.7   21.5   35.0
mlp                  12.7   23.0   36.0   13.2   24.0   37.7
rbf-svm              14.7   23.7   36.2   15.0   24.2   37.7
rbf-svm and mlp      15.0   24.8   37.0   15.5   24.7   38.5
===================  ===================  ===================

The accuracy of the heads on the unchanged labels is 86 %. Most of the other images in the list look
like both classes, or their original labels are wrong. The default is rbf-svm with three
cross-validations. Ten folds, or a second fit without the listed images, changed the numbers less
than another choice of the 54 images.

The outliers were tested in the same way. The audit lists 7 of the 1,078 landscapes, and none of 397
photos of insects. If 5 insects are added to the landscapes, all 5 are listed; if 20 are added, 13
are listed, because the insects are then neighbours of each other. The photos of insects are a
varied set: if 5 landscapes are added to them, 1 is listed; if 20 are added, none is listed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import (
    Similarity,
    check_similarity,
    find_copies,
    least_similarity,
)
from tlfeatures.dataset.labels import Groups, Labels
from tlfeatures.dataset.load import Data, Files, as_dataset, list_files
from tlfeatures.dataset.samples import MOST_IMAGES, sampled_rows
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.errors import ParameterError
from tlfeatures.heads.forms import has_many_rows
from tlfeatures.heads.make_heads import make_one_head
from tlfeatures.heads.table import OneHead
from tlfeatures.metrics.confusion import MANY_CLASSES
from tlfeatures.metrics.scores import Floats
from tlfeatures.model_selection.audit.copies import (
    CopyPair,
    find_contradictions,
    find_divided,
    find_leaks,
)
from tlfeatures.model_selection.audit.label_errors import find_label_errors
from tlfeatures.model_selection.audit.outliers import find_outliers
from tlfeatures.model_selection.audit.results import Audit, Finding
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.model_selection.head_folds import run_folds
from tlfeatures.model_selection.progress import ProgressCounter
from tlfeatures.model_selection.trainer import Trainer
from tlfeatures.progress import Progress, shown_progress

logger = logging.getLogger(__name__)
_REPEATS = 3  # number of cross-validations whose probabilities are averaged


def audit(
    data: Data | Files,
    *,
    embedding: str | None = None,
    labels: Labels = None,
    groups: Groups = None,
    label_level: int | None = None,
    columns: Mapping[str, str] | None = None,
    near_duplicates: Similarity = "auto",
    head: OneHead | None = None,
    cv: int = 5,
    sample: int | None = MOST_IMAGES,
    n_jobs: int | None = None,
    random_state: int | None = 0,
    output: str | os.PathLike[str] | None = None,
    progress: bool | Progress | None = None,
) -> Audit:
    """List probable label errors, copies in two classes or splits, and outliers, worst first.

    The file, the dataset and the folder of images are not changed.

    Parameters
    ----------
    data : path, sequence of paths, or Dataset
        Embeddings file of `extract`, several whose embeddings are joined, or a loaded dataset.
        Variants are not used.
    embedding, labels, groups, label_level, columns
        See `load_dataset`. They apply to a file, not to a dataset.
    near_duplicates : float, "auto" or None
        See `load_dataset`. For a `Dataset`, "auto" keeps its own copies. With any other value,
        copies are searched again in `data.looks` or, without it, in `data.X`. The score of a pair
        of copies is the similarity in the same array. A `Dataset` that was loaded with
        `looks=True` therefore gives the same scores as its file.
    head : str or scikit-learn classifier
        The head whose out-of-fold probabilities judge the labels, see `make_head`. The default is
        rbf-svm, and with more than 100 classes lda, because rbf-svm compares each pair of classes.
    cv : int
        Number of folds. Each class needs at least as many images. Given splits are ignored.
    sample : int or None
        Approximate number of images whose labels are judged and among which outliers are searched,
        5,000 by default. Of more images, a stratified sample is drawn, with at least 10 images of
        each class. It may be up to twice as large to keep groups whole, see
        `tlfeatures.dataset.samples`; images with a copy in another class are added. Copies and
        unreadable images are those of all images. None: all images.
    n_jobs : int or None
        Number of folds that are fitted at the same time. It does not change the result.
    random_state : int or None
        Seed of the sample, the folds and, if it is given by name, of the head.
    output : path, optional
        Write all findings to this file. The ending .csv or .json selects the format.
    progress : bool or callable of (done, total), optional
        Counts folds. See `extract`.

    Returns
    -------
    Audit

    Raises
    ------
    DatasetError
        See `load_dataset`; also if there is only one class, or a class has fewer images than there
        are folds.
    ParameterError
        If the head is unknown or gives no probabilities, an option of a file is given with a
        `Dataset`, or the output has another ending or can't be created.
    OutputError
        If the output can't be written. An existing file is not changed.

    Notes
    -----
    The module `tlfeatures.model_selection.audit.audit` explains the methods and the order.

    Examples
    --------
    >>> audit("photos.h5", head="logreg").findings[0].reason  # doctest: +SKIP
    'labelled red (probability 0.03), more probably blue (0.97)'
    """
    sources = [data.file] if isinstance(data, Dataset) else list_files(data)
    write = None if output is None else _writer(output, (*sources, labels, groups))
    if head is not None:
        make_one_head(head)  # reports a wrong name before the file is read
    check_similarity(near_duplicates)
    is_file = not isinstance(data, Dataset)
    data = as_dataset(
        data,
        embedding=embedding,
        labels=labels,
        groups=groups,
        label_level=label_level,
        columns=columns,
        near_duplicates=near_duplicates if is_file else "auto",
        variants=0 if is_file else None,
        looks=is_file,
    )
    data = data if is_file else _with_copies(data, near_duplicates)
    result = _audited(
        data, head, cv, sample, n_jobs=n_jobs, random_state=random_state, progress=progress
    )
    if write is None:
        return result
    write(result)
    return replace(result, output=str(output))


def _with_copies(data: Dataset, near_duplicates: Similarity) -> Dataset:
    """Return a dataset without variants, whose copies have at least the given similarity."""
    data = replace(data, variants=None)
    if near_duplicates == "auto":
        return data
    if data.spec is None:
        raise ParameterError(
            "near_duplicates can't be changed for a Dataset of several files; give it to "
            "load_dataset"
        )
    shown = data.X if data.looks is None else data.looks
    copies, _ = find_copies(shown, data.digests, near_duplicates, data.spec)
    least = least_similarity(near_duplicates, data.spec)
    return replace(data, copies=copies, near_duplicates=least)


def _writer(output: str | os.PathLike[str], inputs: Iterable[object]) -> Callable[[Audit], None]:
    """Return a function that writes an audit to `output`; raise ParameterError if it can't be."""
    path = Path(output)
    writers = {
        ".csv": lambda result: result.write_csv(path),
        ".json": lambda result: result.write_json(path),
    }
    if path.suffix.lower() not in writers:
        raise ParameterError(f"output is {str(output)!r}; expected a name ending in .csv or .json")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ParameterError(f"{output} is a folder, or in no folder that exists; name a file")
    for source in inputs:
        if isinstance(source, str | os.PathLike) and path.resolve() == Path(source).resolve():
            raise ParameterError(f"output would replace the input {source}; give another name")
    return writers[path.suffix.lower()]


def _audited(
    data: Dataset,
    head: OneHead | None,
    cv: int,
    sample: int | None,
    *,
    n_jobs: int | None,
    random_state: int | None,
    progress: bool | Progress | None,
) -> Audit:
    """Audit a dataset whose copies are known."""
    if head is None:
        head = "lda" if len(data.classes) > MANY_CLASSES else "rbf-svm"
    name, _ = make_one_head(head)
    pairs = find_divided(data)
    rows = _rows_to_judge(data, pairs, sample, random_state)
    part = data.take(rows)
    probabilities, accuracy = _out_of_fold(
        part, head, cv, n_jobs=n_jobs, random_state=random_state, progress=progress
    )
    judged = _judges(part, name, accuracy)
    return Audit(
        file=data.file,
        embedding=data.embedding,
        weights=data.weights,
        images=len(data),
        head=name,
        accuracy=accuracy,
        findings=_findings(data, rows, pairs, probabilities, judged),
        judged=judged,
        sample=len(rows) if len(rows) < len(data) else None,
    )


def _out_of_fold(
    data: Dataset,
    head: OneHead,
    cv: int,
    *,
    n_jobs: int | None,
    random_state: int | None,
    progress: bool | Progress | None,
) -> tuple[Floats, float]:
    """Return the mean probabilities and the mean accuracy of several cross-validations."""
    total: Floats | float = 0.0
    accuracies = []
    many_rows = has_many_rows(TrainingRows.count(data))
    with (
        shown_progress(progress, "audit", "folds") as show,
        Trainer(data, n_jobs=n_jobs, progress=ProgressCounter(_REPEATS * cv, show).add) as trainer,
    ):
        for repeat in range(_REPEATS):
            seed = None if random_state is None else random_state + repeat
            name, classifier = make_one_head(head, random_state=seed, many_rows=many_rows)
            _, folds = make_folds(data, cv=cv, split="cv", random_state=seed)
            result = run_folds(trainer, {name: classifier}, folds, random_state=seed)[name]
            if not np.isfinite(result.probabilities).all():
                raise ParameterError(
                    f"head {name} gives no probabilities, which are needed to judge the labels; "
                    "choose another head, for example rbf-svm or logreg"
                )
            total = total + result.probabilities  # one table at a time: it may have many classes
            accuracies.append((np.array(data.classes)[result.predicted] == data.y).mean())
    return np.asarray(total) / _REPEATS, float(np.mean(accuracies))


def _judges(data: Dataset, head: str, accuracy: float) -> bool:
    """Check whether a head is surely better than always predicting the largest class.

    If it is not, a warning is logged.
    """
    chance = np.unique(data.y, return_counts=True)[1].max() / len(data.y)
    error = np.sqrt(chance * (1 - chance) / len(data.y))
    if accuracy > chance + 2 * error:
        return True
    logger.warning(
        "labels are not judged: %s agrees with %.0f %% of them, which is not surely better than "
        "always predicting the largest class (%.0f %%); try another --embedding or --head",
        head,
        100 * accuracy,
        100 * chance,
    )
    return False


def _rows_to_judge(
    data: Dataset, pairs: list[CopyPair], sample: int | None, random_state: int | None
) -> NDArray[np.int_]:
    """Return the rows of the sample, and those with a copy in another class."""
    rows = sampled_rows(data.y, data.together, sample, random_state)
    divided = [row for pair in pairs for row in (pair.i, pair.j) if _in_two_classes(pair, data)]
    return np.union1d(rows, np.array(divided, int))


def _in_two_classes(pair: CopyPair, data: Dataset) -> bool:
    return bool(data.y[pair.i] != data.y[pair.j])


def _findings(
    data: Dataset,
    rows: NDArray[np.int_],
    pairs: list[CopyPair],
    probabilities: Floats,
    judged: bool,
) -> list[Finding]:
    """Return the findings of all kinds in order. Findings with equal scores are sorted by id.

    Copies are searched among all images, and the other findings among the rows of the sample.
    """
    part = data.take(rows)
    place = np.full(len(data), -1)
    place[rows] = np.arange(len(rows))
    inside = [
        replace(pair, i=int(place[pair.i]), j=int(place[pair.j]))
        for pair in pairs
        if _in_two_classes(pair, data)
    ]
    contradicting = find_contradictions(part, probabilities, inside)
    leaking = find_leaks(data, pairs)
    doubted = {
        row: finding
        for row, finding in (find_label_errors(part, probabilities) if judged else {}).items()
        if row not in contradicting
    }
    for row, finding in find_outliers(part).items():
        others = contradicting if row in contradicting else doubted
        if row in others:
            others[row] = replace(others[row], reason=f"{others[row].reason}; also an outlier")
        else:
            doubted[row] = finding
    unreadable = [
        Finding("unreadable", image.id, image.label or "", None, 1.0, image.reason)
        for image in data.unreadable
    ]
    return [
        finding
        for findings in (contradicting.values(), leaking.values(), unreadable, doubted.values())
        for finding in sorted(findings, key=lambda finding: (-finding.score, finding.id))
    ]
