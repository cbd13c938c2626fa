"""What is probably wrong with the labels and images of a file: one list, worst first.

Four kinds of findings:

- **near-duplicate**: the same photo, by file or by embedding (`tlfeatures.dataset.duplicates`), in two
  classes, so that one label is certainly wrong; or in two of the given splits, so that the scores
  on one of them are too good. Copies within a class and a split are harmless and not listed.
- **label**: confident learning (Northcutt, Jiang and Chuang, Confident learning: estimating
  uncertainty in dataset labels, Journal of Artificial Intelligence Research 70, 2021, 1373-1411),
  by the library cleanlab, on out-of-fold probabilities: images counted off the diagonal of the
  confident joint, that is, given another class's probability as high as its own images have on
  average. Copies and groups stay in one fold, so a mislabelled copy can't vouch for itself.
- **outlier**: images far from their 10th nearest one (Ramaswamy, Rastogi and Shim, Efficient
  algorithms for mining outliers from large data sets, SIGMOD 2000), by the distance of
  `tlfeatures.dataset.duplicates`. The logarithm is taken relative to the median of the image's class, so
  that a small or a varied class is no outlier as a whole; those beyond 3.5 robust deviations
  (1.4826 times the median absolute one) are listed, the limit of Iglewicz and Hoaglin (How to
  detect and handle outliers, 1993).

- **unreadable**: images that `extract` could not read, with the reason. They have no embedding, so
  that nothing else looks at them.

An image is at fault in one row of labels, outliers and contradictions together, the worst.

Rows are ordered so: copies in two classes, copies in two splits, unreadable images, then labels and
outliers; inside each by the score, which says how sure the finding is:

==============  ==================================================================================
near-duplicate  1 for identical files, else the similarity of `tlfeatures.dataset.duplicates`
unreadable      1
label           (1 + p(suggested) - p(given)) / 2: 0.5 is a tie, 1 is certain
outlier         1 - 3.5 / (2 z), z the robust deviations: 0.5 at the limit, 0.75 at twice it
==============  ==================================================================================

Measured with VGG16 at 224, block5_pool.avg, on 1,078 landscapes (Intel; glacier or mountain) of
which 54 had their labels flipped, mean of six draws: planted errors among the first 25, 50 and
100 images by that score, of one 5-fold cross-validation and of the mean of three:

===================  ===================  ===================
head                 one                  three
===================  ===================  ===================
logreg               12.0   21.7   35.0   12.7   21.5   35.0
mlp                  12.7   23.0   36.0   13.2   24.0   37.7
rbf-svm              14.7   23.7   36.2   15.0   24.2   37.7
rbf-svm and mlp      15.0   24.8   37.0   15.5   24.7   38.5
===================  ===================  ===================

The heads are right on 86 % of these images before anything is planted, so most of the others are
images that the classes don't tell apart, or errors of the set's own. Hence rbf-svm and three
cross-validations; ten folds, and fitting again without the suspects, changed less than the draws.

Outliers: of the unchanged 1,078 landscapes 7 are listed and of 397 photos of insects none; 5
insects among the landscapes are all found, of 20 (which are then neighbours of each other) 13; of
5 landscapes among the insects, a varied set, 1, and of 20 none.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.distances import neighbor_distances
from tlfeatures.dataset.duplicates import NEAR_DUPLICATE, find_near_duplicates
from tlfeatures.dataset.grouping import merge_groups
from tlfeatures.dataset.load import load_dataset
from tlfeatures.errors import ParameterError
from tlfeatures.files import replace_file
from tlfeatures.heads.table import make_head
from tlfeatures.model_selection.cross_validation import cross_validate
from tlfeatures.model_selection.trainer import Counter, Progress, Trainer

logger = logging.getLogger(__name__)

KINDS = ("near-duplicate", "label", "outlier", "unreadable")

_REPEATS = 3  # cross-validations whose probabilities are averaged, see above
_NEIGHBOR = 10  # beyond the copies of an image, which are its nearest ones
_LIMIT = 3.5  # robust deviations
_NORMAL = 1.4826  # times the median absolute deviation: the standard deviation of normal values
_LEAST_DEVIATION = 0.01  # of the logarithm: among images all alike, 4 % farther is no outlier
_LEAST_DISTANCE = 1e-3  # that of copies, for the logarithm
_SPLIT_ORDER = {"train": 0, "val": 1, "test": 2}

Floats = NDArray[np.float64]
Labels = str | os.PathLike[str] | Mapping[str, str] | None


@dataclass(frozen=True)
class Finding:
    """Something that is probably wrong with an image.

    Attributes
    ----------
    kind : {"near-duplicate", "label", "outlier", "unreadable"}
    id : str
        The image to look at; of two copies the one whose label the probabilities doubt, else the
        one in train.
    label : str
        Its class as given; empty where an unreadable image has none.
    other : str or None
        The class that is more probable, or the id of the image's copy; None for other kinds.
    score : float
        0 to 1, how sure it is; see `tlfeatures.model_selection.audit`.
    reason : str
    """

    kind: str
    id: str
    label: str
    other: str | None
    score: float
    reason: str


@dataclass(frozen=True)
class Audit:
    """What `audit` found.

    Attributes
    ----------
    file, embedding : str
    weights : str
        Those of the backbone that made the embeddings.
    images : int
        Labelled images in the file.
    head : str
    accuracy : float
        Out of fold, against the given labels; the lower, the less a suggested label says.
    findings : list of Finding
        Worst first.
    judged : bool
        Whether labels were: not by a head that is no better than naming the largest class.
    output : str or None
        Where they were written.
    """

    file: str
    embedding: str
    weights: str
    images: int
    head: str
    accuracy: float
    findings: list[Finding]
    judged: bool = True
    output: str | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Findings of each kind."""
        return {kind: sum(each.kind == kind for each in self.findings) for kind in KINDS}

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-ready plain data."""
        return {
            "file": self.file,
            "embedding": self.embedding,
            "weights": self.weights,
            "images": self.images,
            "head": self.head,
            "accuracy": self.accuracy,
            "judged": self.judged,
            "counts": self.counts,
            "findings": [asdict(each) for each in self.findings],
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Audit:
        """Read what `to_dict` wrote."""
        parts = {name: value for name, value in facts.items() if name not in ("counts", "findings")}
        return cls(findings=[Finding(**each) for each in facts["findings"]], **parts)

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write every finding as a row; the columns are the fields of `Finding`.

        Raises
        ------
        OutputError
            If the file can't be written; what was there stays.
        """
        table = io.StringIO()
        writer = csv.DictWriter(table, [each.name for each in fields(Finding)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(each) for each in self.findings)
        replace_file(path, table.getvalue().encode("utf-8", "backslashreplace"))

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write what `to_dict` gives.

        Raises
        ------
        OutputError
            If the file can't be written; what was there stays.
        """
        replace_file(path, f"{json.dumps(self.to_dict(), indent=1)}\n".encode())


def audit(
    file: str | os.PathLike[str],
    *,
    embedding: str | None = None,
    labels: Labels = None,
    groups: str | os.PathLike[str] | None = None,
    label_level: int | None = None,
    label_columns: Mapping[str, str] | None = None,
    near_duplicates: float | None = NEAR_DUPLICATE,
    head: str = "rbf-svm",
    cv: int = 5,
    n_jobs: int | None = None,
    random_state: int | None = 0,
    output: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Audit:
    """List probable label errors, contradicting and leaking copies, and outliers, worst first.

    Nothing is changed in the file or in the folder of images.

    Parameters
    ----------
    file, embedding, labels, groups, label_level, label_columns, near_duplicates
        See `load_dataset`.
    head : str
        Whose out-of-fold probabilities judge the labels, see `make_head`.
    cv : int
        Folds; each class needs so many images. Splits are not used for judging labels.
    n_jobs : int or None
        Folds fitted at once; the result doesn't depend on it.
    random_state : int or None
        Of the folds and the head.
    output : path, optional
        All rows are written here: a CSV if it ends in .csv, or .json.
    progress : callable of (done, total), optional
        Of the folds.

    Returns
    -------
    Audit

    Raises
    ------
    DatasetError
        See `load_dataset`; with one class, or a class of fewer images than folds.
    ParameterError
        If the head is unknown or gives no probabilities, or the output can't be there.
    OutputError
        If the output can't be written; what was there stays.

    Notes
    -----
    The methods, the ranking and what they find are in `tlfeatures.model_selection.audit`.
    """
    write = None if output is None else _writer(output, (file, labels, groups))
    make_head(head)  # a name that is wrong is said before the file is read
    data = load_dataset(
        file,
        embedding,
        labels,
        groups=groups,
        label_level=label_level,
        label_columns=label_columns,
        near_duplicates=None,
        variants=0,
        looks=True,
    )
    result = audit_dataset(
        data,
        near_duplicates=near_duplicates,
        head=head,
        cv=cv,
        n_jobs=n_jobs,
        random_state=random_state,
        progress=progress,
    )
    if write is None:
        return result
    write(result)
    return replace(result, output=str(output))


def audit_dataset(
    data: Dataset,
    *,
    near_duplicates: float | None = NEAR_DUPLICATE,
    head: str = "rbf-svm",
    cv: int = 5,
    n_jobs: int | None = None,
    random_state: int | None = 0,
    progress: Progress | None = None,
) -> Audit:
    """Do what `audit` does on a dataset.

    Near-duplicates are looked for among `data.looks`, or among `data.X` where there are none.
    """
    data, pairs = _with_copies(data, near_duplicates)
    probabilities, accuracy = _out_of_fold(
        data, head, cv, n_jobs=n_jobs, random_state=random_state, progress=progress
    )
    judged = _judges(data, head, accuracy)
    return Audit(
        file=data.file,
        embedding=data.embedding,
        weights=data.spec.weights,
        images=len(data.y),
        head=head,
        accuracy=accuracy,
        findings=_findings(data, probabilities, pairs, judged),
        judged=judged,
    )


def _writer(output: str | os.PathLike[str], inputs: Iterable[object]) -> Callable[[Audit], None]:
    """How to write there; refused before the work where it can't be done."""
    path = Path(output)
    writers = {
        ".csv": lambda result: result.write_csv(path),
        ".json": lambda result: result.write_json(path),
    }
    if path.suffix.lower() not in writers:
        raise ParameterError(f"output is {str(output)!r}; expected a name ending in .csv or .json")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ParameterError(f"{output} is a folder, or in no folder; name a file in one")
    for each in inputs:
        if isinstance(each, str | os.PathLike) and path.resolve() == Path(each).resolve():
            raise ParameterError(f"output would replace {each}, which is read; give another name")
    return writers[path.suffix.lower()]


def _out_of_fold(
    data: Dataset,
    head: str,
    cv: int,
    *,
    n_jobs: int | None,
    random_state: int | None,
    progress: Progress | None,
) -> tuple[Floats, float]:
    """Mean of the probabilities of several cross-validations, and of their accuracies."""
    tables, accuracies = [], []
    count = Counter(_REPEATS * cv, progress)
    with Trainer(data, n_jobs=n_jobs, progress=count.add) as trainer:
        for repeat in range(_REPEATS):
            seed = None if random_state is None else random_state + repeat
            made = make_head(head, random_state=seed)
            result = cross_validate(
                made, data, cv=cv, split="cv", random_state=seed, trainer=trainer
            )
            if not np.isfinite(result.probabilities).all():
                raise ParameterError(
                    f"head {head} gives no probabilities, which judge the labels; take another, "
                    "as rbf-svm or logreg"
                )
            tables.append(result.probabilities)
            accuracies.append((result.classes[result.predicted] == data.y).mean())
    return np.mean(tables, axis=0), float(np.mean(accuracies))


# ---- the list


def _judges(data: Dataset, head: str, accuracy: float) -> bool:
    """Whether the head is surely better than naming the largest class; a guess judges no label."""
    chance = np.unique(data.y, return_counts=True)[1].max() / len(data.y)
    error = np.sqrt(chance * (1 - chance) / len(data.y))
    if accuracy > chance + 2 * error:
        return True
    logger.warning(
        "labels are not judged: %s is right on %.0f%% of them, the largest class has %.0f%%; "
        "another --embedding or --head may do better",
        head,
        100 * accuracy,
        100 * chance,
    )
    return False


def _findings(
    data: Dataset, probabilities: Floats, pairs: list[_Pair], judged: bool
) -> list[Finding]:
    """All kinds in one order; `id` and score decide inside each, so that it is always the same."""
    torn = _contradictions(data, probabilities, pairs)
    leaks = _leaks(data, pairs)
    doubted = {
        row: finding
        for row, finding in (_label_errors(data, probabilities) if judged else {}).items()
        if row not in torn
    }
    for row, finding in _outliers(data).items():
        named = torn if row in torn else doubted
        if row in named:
            named[row] = replace(named[row], reason=f"{named[row].reason}; also an outlier")
        else:
            doubted[row] = finding
    unreadable = [
        Finding("unreadable", each.id, each.label or "", None, 1.0, each.reason)
        for each in data.unreadable
    ]
    return [
        finding
        for found in (torn.values(), leaks.values(), unreadable, doubted.values())
        for finding in sorted(found, key=lambda each: (-each.score, each.id))
    ]


@dataclass(frozen=True)
class _Pair:
    """Two rows that show the same photo; an identical one has the score 1."""

    i: int
    j: int
    score: float
    identical: bool

    @property
    def what(self) -> str:
        return "the same file" if self.identical else "nearly the same image"


def _with_copies(data: Dataset, near_duplicates: float | None) -> tuple[Dataset, list[_Pair]]:
    """Add near-duplicates to the identical files; pairs in two classes or splits, surest first."""
    near, similarity = np.empty((0, 2), np.int64), np.empty(0)
    if near_duplicates is not None:
        looks = data.X if data.looks is None else data.looks
        near, similarity = find_near_duplicates(looks, near_duplicates)
    same = merge_groups(len(data.y), None, [data.copies])
    file = np.arange(len(data.y)) if same is None else same
    splits = _splits(data)
    pairs = [_Pair(i, j, 1.0, True) for i, j in _identical_apart(data, file)]
    for (i, j), score in zip(near.tolist(), similarity.tolist(), strict=True):
        if file[i] != file[j] and (data.y[i] != data.y[j] or splits[i] != splits[j]):
            pairs.append(_Pair(i, j, score, False))
    copies = np.unique(np.concatenate([data.copies, near]), axis=0)
    return replace(data, copies=copies), pairs


def _splits(data: Dataset) -> list[str]:
    return [""] * len(data.y) if data.split is None else data.split.tolist()


def _identical_apart(data: Dataset, file: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Each row with the first of another class, and of another split, among its copies.

    So a thousand copies make at most two thousand pairs and not half a million.
    """
    copies: dict[int, list[int]] = {}
    for row, number in enumerate(file.tolist()):
        copies.setdefault(number, []).append(row)
    found, splits = set(), _splits(data)
    for rows in copies.values():
        for part in (data.y.tolist(), splits):
            firsts = sorted({part[row]: row for row in reversed(rows)}.values())
            for row in rows:
                other = next((first for first in firsts if part[first] != part[row]), None)
                if other is not None:
                    found.add((min(row, other), max(row, other)))
    yield from sorted(found)


def _contradictions(data: Dataset, probabilities: Floats, pairs: list[_Pair]) -> dict[int, Finding]:
    """Copies in two classes; each doubted image once, with the copy most like it.

    The copies show one image, so the mean of their probabilities judges both labels.
    """
    place = {name: number for number, name in enumerate(data.classes)}
    splits = _splits(data)
    found: dict[int, Finding] = {}
    for pair in pairs:
        if data.y[pair.i] == data.y[pair.j]:
            continue
        mean = probabilities[[pair.i, pair.j]].mean(axis=0)
        share = {row: mean[place[data.y[row]]] for row in (pair.i, pair.j)}
        wrong, right = sorted(share, key=lambda row: (share[row], -row))
        where = f", in {splits[right]}," if splits[right] != splits[wrong] else ""
        reason = (
            f"labelled {data.y[wrong]} ({share[wrong]:.2f}), but {pair.what}{where} is "
            f"{data.ids[right]} ({share[right]:.2f})"
        )
        other = str(data.ids[right])
        found.setdefault(wrong, _finding(KINDS[0], data, wrong, other, pair.score, reason))
    return found


def _leaks(data: Dataset, pairs: list[_Pair]) -> dict[int, Finding]:
    """Copies in two splits; the image nearer to training is the one that can be spared."""
    splits = _splits(data)
    found: dict[int, Finding] = {}
    for pair in pairs:
        if data.y[pair.i] != data.y[pair.j] or splits[pair.i] == splits[pair.j]:
            continue
        spare, kept = sorted((pair.i, pair.j), key=lambda row: _SPLIT_ORDER[splits[row]])
        other = str(data.ids[kept])
        reason = f"in {splits[spare]}, but {pair.what} is {other}, in {splits[kept]}"
        found.setdefault(spare, _finding(KINDS[0], data, spare, other, pair.score, reason))
    return found


def _label_errors(data: Dataset, probabilities: Floats) -> dict[int, Finding]:
    """Confident learning; a suggested class is always more probable than the given one."""
    classes = np.array(data.classes)
    rows = np.flatnonzero(~np.isin(data.y, _never_learned(data)))
    table, given = probabilities[rows], np.searchsorted(classes, data.y[rows])
    if len(np.unique(given)) < 2:
        return {}
    suggested, (wrong, quality) = table.argmax(axis=1), _judged(given, table)
    found = {}
    for place in np.flatnonzero(wrong & (suggested != given)).tolist():
        now, then = table[place, given[place]], table[place, suggested[place]]
        other = str(classes[suggested[place]])
        row = int(rows[place])
        reason = f"labelled {data.y[row]} ({now:.2f}), more probably {other} ({then:.2f})"
        found[row] = _finding("label", data, row, other, 1 - float(quality[place]), reason)
    return found


def _never_learned(data: Dataset) -> list[str]:
    """Classes that are one group: whenever they are tested, the head knows nothing of them."""
    if data.together is None:
        return []
    names = [name for name in data.classes if len(set(data.together[data.y == name])) == 1]
    if names:
        logger.warning(
            "all images of %s are of one group, so that others can't judge them: no label errors "
            "are looked for among them",
            ", ".join(names),
        )
    return names


def _judged(given: NDArray[np.int_], table: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Whether each label is an issue, and its quality, 0 to 1."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with few images
        wrong = find_label_issues(
            given, table, filter_by="confident_learning", n_jobs=1, verbose=False
        )
        return wrong, get_label_quality_scores(given, table, method="normalized_margin")


def _outliers(data: Dataset) -> dict[int, Finding]:
    """Images beyond the limit; rows that have no distance (all zeros) are left out."""
    distance = neighbor_distances(data.X, _NEIGHBOR).astype(np.float64)
    logarithm = np.log(np.maximum(distance, _LEAST_DISTANCE))
    excess = np.full(len(logarithm), np.nan)
    known = np.isfinite(logarithm)
    for name in data.classes:
        rows = known & (data.y == name)
        if rows.any():
            excess[rows] = logarithm[rows] - np.median(logarithm[rows])
    if not known.any():
        return {}
    deviation = max(_NORMAL * float(np.median(np.abs(excess[known]))), _LEAST_DEVIATION)
    found = {}
    for row in np.flatnonzero(excess > _LIMIT * deviation).tolist():
        score = 1 - _LIMIT * deviation / (2 * excess[row])
        reason = (
            f"{np.exp(excess[row]):.1f} times as far from other images as is usual in {data.y[row]}"
        )
        found[row] = _finding("outlier", data, row, None, score, reason)
    return found


def _finding(
    kind: str, data: Dataset, row: int, other: str | None, score: float, reason: str
) -> Finding:
    clipped = float(min(max(score, 0.0), 1.0))
    return Finding(kind, str(data.ids[row]), str(data.y[row]), other, clipped, reason)
