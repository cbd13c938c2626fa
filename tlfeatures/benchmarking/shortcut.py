"""The shortcut: files that tell a class, whatever their images show.

A class whose images were saved, scaled or collected in another way can be told without its content,
and a head can learn this. The file's size depends on what an image shows, because texture takes
space. Width, height, aspect ratio, format and quality of a JPEG don't, so only these are used here.

The rule: a decision tree on these properties predicts each image out-of-fold. A class is told apart
if the ROC AUC of its probability (this class against the rest) is surely above `STRONG`: the lower
bound of its 95 % interval, by a bootstrap over images or whole groups, is higher, and the class has
`FEWEST` tested images or more. If a class is told apart, the rule is applied again to the others
without it. AUC is the share of pairs, of one image of the class and one other image, that the tree
puts in the right order; it doesn't depend on the sizes of the classes.

The lower bounds that were measured: 0.52 for 397 insects (photographs of many sizes) and 0.47 for
1,078 scenes, as they are; 0.98 and more after one class was saved at JPEG quality 90, 75 or 60, as
PNG, or two pixels smaller; 0.70 to 0.71 after this was done to half of the images of the class.
Images that were saved at a low quality and then again as the others are not found: this changes
only the size of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.benchmarking.property_heads import content_free_columns, out_of_fold, small_tree
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.features.images.properties import column_of
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer
from tlfeatures.metrics.intervals import percentile_levels
from tlfeatures.metrics.scores import pooled_scores

STRONG = 0.7  # ROC AUC
FEWEST = 10  # tested images of the class, and of the others

Values = NDArray[np.float64]


def told_apart(
    properties: NDArray[np.float32],
    codes: NDArray[np.int_],
    folds: Sequence[Fold],
    scorer: BootstrapScorer,
) -> dict[str, str]:
    """Find the classes that the properties of their files tell from the other classes.

    Parameters
    ----------
    properties : ndarray of shape (n, q)
        Columns as in `PROPERTIES`.
    codes : ndarray of shape (n,), int
        Class codes.
    folds : sequence of (train rows, test rows)
    scorer : BootstrapScorer
        Of the tested images.

    Returns
    -------
    dict of class to sentence
        What differs most. Of two classes, both are named with the same sentence.
    """
    columns = content_free_columns(properties)
    if len(np.unique(columns, axis=0)) == 1:
        return {}
    k = len(scorer.classes)
    table = out_of_fold(small_tree(k), columns, codes, folds, k)[scorer.tested]
    tested = properties[scorer.tested].astype(np.float64)
    evidence = {}
    for code, rivals in _told(table, scorer):
        rows = np.isin(scorer.codes, [code, *rivals])
        whose = f"images of {scorer.classes[code]}"
        evidence[scorer.classes[code]] = _evidence(tested[rows], scorer.codes[rows] == code, whose)
    if len(scorer.classes) == 2 and evidence:  # each of the two is told from the other
        (sentence,) = evidence.values()
        return dict.fromkeys(scorer.classes, sentence)
    return evidence


def _told(table: Values, scorer: BootstrapScorer) -> Iterator[tuple[int, list[int]]]:
    """Yield each class that is told apart, and the classes that it is told from.

    The class that is told best comes first, and is then left out: the others would be told from its
    images, although they differ only from these.
    """
    left = [code for code in range(len(scorer.classes)) if (scorer.codes == code).any()]
    lowest, _ = percentile_levels(scorer.units)
    while len(left) > 1:
        rows = np.isin(scorer.codes, left)
        total = table[rows][:, left].sum(axis=1)
        once = np.ones((int(rows.sum()), 1))
        values = {}
        for code in left:
            own = scorer.codes[rows] == code
            share = np.where(total > 0, table[rows, code] / np.maximum(total, 1e-12), 0)
            values[code] = own, share, float(_auc(own, share, once)[0])
        best = max(left, key=lambda code: values[code][2])
        own, share, value = values[best]
        if min(own.sum(), (~own).sum()) < FEWEST or value <= STRONG:
            return
        if np.nanquantile(_auc(own, share, scorer.counts[rows]), lowest) <= STRONG:
            return
        left.remove(best)
        yield best, left[:]


def _auc(own: NDArray[np.bool_], share: Values, weights: NDArray[Any]) -> Values:
    codes, table = own.astype(int), np.column_stack([1 - share, share])
    return pooled_scores(codes, codes, table, weights)["roc_auc"]


# ---- what differs, in words


def _quality(quantization: Values) -> Values:
    """Return the usual quality of a JPEG, 1 to 100, from the mean of its luminance table.

    The mean of the standard's own table is 57.6, which has the quality 50. 0 for other formats.
    """
    ratio = quantization / 57.625
    high = 100 - 50 * ratio
    low = 50 / np.maximum(ratio, 1e-9)
    return np.where(quantization == 0, 0, np.round(np.where(ratio <= 1, high, low)))


_WORDS: list[tuple[Callable[[Values], Values], Callable[[float], str]]] = [
    (lambda p: column_of(p, "jpeg"), lambda v: "are JPEG files" if v else "are no JPEG files"),
    (
        lambda p: _quality(column_of(p, "jpeg_quantization")),
        lambda v: f"have a JPEG quality of about {v:.0f}" if v else "are no JPEG files",
    ),
    (lambda p: column_of(p, "width"), lambda v: f"are {v:,.0f} pixels wide"),
    (lambda p: column_of(p, "height"), lambda v: f"are {v:,.0f} pixels high"),
]


def _evidence(properties: Values, own: NDArray[np.bool_], whose: str) -> str:
    """Say which single property differs most between the images of a class and the others.

    This is the value that one side has most often, and the other side has least often.
    """
    best = (-1.0, "")
    for values_of, words in _WORDS:
        values = values_of(properties)
        for side in (own, ~own):
            common = _most_common(values[side])
            share, others = ((values[rows] == common).mean() for rows in (own, ~own))
            difference = abs(share - others)
            if difference > best[0] + 1e-9:
                best = (
                    difference,
                    f"{100 * share:.0f} % of the {whose} {words(common)}, and "
                    f"{100 * others:.0f} % of the other images",
                )
    return best[1]


def _most_common(values: Values) -> float:
    different, counts = np.unique(values, return_counts=True)
    return float(different[counts.argmax()])
