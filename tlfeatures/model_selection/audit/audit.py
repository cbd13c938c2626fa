"""Probable errors in labels and images, as one list with the worst first.

There are four kinds of findings:

- **near-duplicate**: the same photo, by file or by embedding (`tlfeatures.dataset.duplicates`), in
  two classes, so that one label is certainly wrong; or in two of the given splits, so that scores
  on one of them are too good. Copies within a class and a split do no harm and are not listed.
- **label**: confident learning (Northcutt, Jiang and Chuang, Confident learning: estimating
  uncertainty in dataset labels, Journal of Artificial Intelligence Research 70, 2021, 1373-1411),
  by the library cleanlab, on out-of-fold probabilities. It lists images off the diagonal of the
  confident joint: the probability of another class is as high as it is on average for images of
  that class. Copies and groups stay in one fold, so that a mislabelled copy does not support
  itself.
- **outlier**: images far from their 10th nearest image (Ramaswamy, Rastogi and Shim, Efficient
  algorithms for mining outliers from large data sets, SIGMOD 2000), by the distance of
  `tlfeatures.dataset.duplicates`. The logarithm of the distance is taken relative to the median of
  the image's class, so that a small or varied class is not an outlier as a whole. Images beyond 3.5
  robust deviations (1.4826 times the median absolute deviation) are listed, the limit of Iglewicz
  and Hoaglin (How to detect and handle outliers, 1993).
- **unreadable**: images that `extract` could not read, with the reason. They have no embedding, so
  the other methods don't see them.

Labels, outliers and contradictions together list an image once, in the worst of its findings.

The order is: copies in two classes, copies in two splits, unreadable images, then labels and
outliers together; within these by the score, which says how sure the finding is:

==============  ==================================================================================
near-duplicate  1 for identical files, else the similarity of `tlfeatures.dataset.duplicates`
unreadable      1
label           (1 + p(suggested) - p(given)) / 2: 0.5 is a tie, 1 is certain
outlier         1 - 3.5 / (2 z), z the robust deviations: 0.5 at the limit, 0.75 at twice the limit
==============  ==================================================================================

Measured with VGG16 at 224, block5_pool.avg, on 1,078 landscapes (Intel; glacier or mountain). The
labels of 54 images were flipped. The table shows how many of them are among the first 25, 50 and
100 images by the score, for one 5-fold cross-validation and for the mean of three; mean of six
random choices of the 54:

===================  ===================  ===================
head                 one                  three
===================  ===================  ===================
logreg               12.0   21.7   35.0   12.7   21.5   35.0
mlp                  12.7   23.0   36.0   13.2   24.0   37.7
rbf-svm              14.7   23.7   36.2   15.0   24.2   37.7
rbf-svm and mlp      15.0   24.8   37.0   15.5   24.7   38.5
===================  ===================  ===================

The heads are right on 86 % of these images before any label is flipped, so most of the other
images in the list look like both classes, or are errors of the original labels. So the default is
rbf-svm and three cross-validations. Ten folds, or a second fit without the listed images, changed
less than another choice of the 54.

Outliers: of the unchanged 1,078 landscapes 7 are listed, and of 397 photos of insects none. Of 5
insects added to the landscapes all are found, of 20 (which are then neighbours of each other) 13.
Of 5 landscapes added to the insects, which are a varied set, 1 is found, and of 20 none.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity, find_copies
from tlfeatures.dataset.labels import Groups, Labels
from tlfeatures.dataset.load import Data, as_dataset, check_similarity
from tlfeatures.errors import ParameterError
from tlfeatures.heads.table import OneHead, make_one_head
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
from tlfeatures.model_selection.progress import Progress, ProgressCounter
from tlfeatures.model_selection.trainer import Trainer

logger = logging.getLogger(__name__)
_REPEATS = 3  # cross-validations whose probabilities are averaged, see above


def audit(
    data: Data,
    *,
    embedding: str | None = None,
    labels: Labels = None,
    groups: Groups = None,
    label_level: int | None = None,
    label_columns: Mapping[str, str] | None = None,
    near_duplicates: Similarity = "auto",
    head: OneHead = "rbf-svm",
    cv: int = 5,
    n_jobs: int | None = None,
    random_state: int | None = 0,
    output: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Audit:
    """List probable label errors, contradicting or leaking copies, and outliers, worst first.

    Nothing is changed in the file, in the dataset or in the folder of images.

    Parameters
    ----------
    data : path or Dataset
        Embeddings file of `extract`, or what `load_dataset` returns. Variants are not used.
    embedding, labels, groups, label_level, label_columns
        See `load_dataset`; only with a path.
    near_duplicates : float, "auto" or None
        See `load_dataset`. For a `Dataset`, "auto" keeps its own copies; any other value finds
        them again, on `data.looks` or, without it, on `data.X`. The score of a pair of copies is
        the similarity on the same array, so that a `Dataset` gives the same scores as its file if
        it was loaded with `looks=True`.
    head : str or scikit-learn classifier
        The head whose out-of-fold probabilities judge the labels, see `make_head`.
    cv : int
        Number of folds; each class needs at least as many images. Given splits are ignored here.
    n_jobs : int or None
        Number of folds fitted at once; the result doesn't depend on it.
    random_state : int or None
        Seed of the folds and, if it is given by name, of the head.
    output : path, optional
        Write all findings to this file, as CSV or JSON by its ending .csv or .json.
    progress : callable of (done, total), optional
        Called after each fold.

    Returns
    -------
    Audit

    Raises
    ------
    DatasetError
        See `load_dataset`; with one class, or a class of fewer images than folds.
    ParameterError
        If the head is unknown or gives no probabilities, an option of a file is given with a
        `Dataset`, or the output is not a possible file.
    OutputError
        If the output can't be written; an existing file stays unchanged.

    Notes
    -----
    The module `tlfeatures.model_selection.audit.audit` explains the methods and the order.

    Examples
    --------
    >>> audit("photos.h5", head="logreg").findings[0].reason  # doctest: +SKIP
    'labelled red (probability 0.03), more probably blue (0.97)'
    """
    source = data.file if isinstance(data, Dataset) else data
    write = None if output is None else _writer(output, (source, labels, groups))
    name, _ = make_one_head(head)  # report a wrong name before the file is read
    check_similarity(near_duplicates)
    is_file = not isinstance(data, Dataset)
    data = as_dataset(
        data,
        embedding=embedding,
        labels=labels,
        groups=groups,
        label_level=label_level,
        label_columns=label_columns,
        near_duplicates=near_duplicates if is_file else "auto",
        variants=0 if is_file else None,
        looks=is_file,
    )
    data = data if is_file else _with_copies(data, near_duplicates)
    probabilities, accuracy = _out_of_fold(
        data, head, cv, n_jobs=n_jobs, random_state=random_state, progress=progress
    )
    result = _result(data, name, probabilities, accuracy)
    if write is None:
        return result
    write(result)
    return replace(result, output=str(output))


def _with_copies(data: Dataset, near_duplicates: Similarity) -> Dataset:
    """Return a dataset without its variants, with its own copies or those of this similarity."""
    data = replace(data, variants=None)
    if near_duplicates == "auto":
        return data
    shown = data.X if data.looks is None else data.looks
    copies, _ = find_copies(shown, data.digests, near_duplicates, data.spec)
    return replace(data, copies=copies)


def _writer(output: str | os.PathLike[str], inputs: Iterable[object]) -> Callable[[Audit], None]:
    """Return a function that writes there; raise ParameterError if that is not possible."""
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


def _out_of_fold(
    data: Dataset,
    head: OneHead,
    cv: int,
    *,
    n_jobs: int | None,
    random_state: int | None,
    progress: Progress | None,
) -> tuple[Floats, float]:
    """Average the probabilities and accuracies of several cross-validations."""
    tables, accuracies = [], []
    count = ProgressCounter(_REPEATS * cv, progress)
    with Trainer(data, n_jobs=n_jobs, progress=count.add) as trainer:
        for repeat in range(_REPEATS):
            seed = None if random_state is None else random_state + repeat
            name, classifier = make_one_head(head, random_state=seed)
            _, folds = make_folds(data, cv=cv, split="cv", random_state=seed)
            result = run_folds(trainer, {name: classifier}, folds, random_state=seed)[name]
            if not np.isfinite(result.probabilities).all():
                raise ParameterError(
                    f"head {name} gives no probabilities, which are needed to judge the labels; "
                    "choose another head, for example rbf-svm or logreg"
                )
            tables.append(result.probabilities)
            accuracies.append((np.array(data.classes)[result.predicted] == data.y).mean())
    return np.mean(tables, axis=0), float(np.mean(accuracies))


def _judges(data: Dataset, head: str, accuracy: float) -> bool:
    """Check whether a head is surely better than always naming the largest class; warn if not."""
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


def _result(data: Dataset, head: str, probabilities: Floats, accuracy: float) -> Audit:
    judged = _judges(data, head, accuracy)
    return Audit(
        file=data.file,
        embedding=data.embedding,
        weights=data.spec.weights,
        images=len(data.y),
        head=head,
        accuracy=accuracy,
        findings=_findings(data, probabilities, find_divided(data), judged),
        judged=judged,
    )


def _findings(
    data: Dataset, probabilities: Floats, pairs: list[CopyPair], judged: bool
) -> list[Finding]:
    """Return findings of all kinds in order; equal scores are ordered by id."""
    contradicting = find_contradictions(data, probabilities, pairs)
    leaking = find_leaks(data, pairs)
    doubted = {
        row: finding
        for row, finding in (find_label_errors(data, probabilities) if judged else {}).items()
        if row not in contradicting
    }
    for row, finding in find_outliers(data).items():
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
