"""The base of calibrated classifiers that read their rows in blocks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone

from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.heads.blocks.kernel import LandmarkKernel
from tlfeatures.heads.blocks.rows import Floats, MatrixRows, StandardisedRows
from tlfeatures.heads.classifiers.block_decisions import LinearDecisions, decisions_of
from tlfeatures.heads.classifiers.block_rows import BaseBlockClassifier
from tlfeatures.heads.classifiers.calibration import BaseCalibration, calibration_folds
from tlfeatures.heads.fit_arguments import FitArguments, Units, Variant

Source = StandardisedRows | LandmarkKernel
Codes = NDArray[np.int_]
Weights = Floats | None


class BaseCalibratedBlocks(BaseBlockClassifier, BaseCalibration):
    """Base class of calibrated classifiers with decisions that are linear in blocks of rows.

    The decisions are fitted on all rows and, for calibration, on each inner fold. All of these fits
    have the same standardisation or the same landmarks.
    """

    @abstractmethod
    def _prepared(self, rows: MatrixRows) -> Source:
        """Return what the decisions are linear in."""

    @abstractmethod
    def _solve(self, source: Source, codes: Codes, weights: Weights) -> tuple[Floats, Floats]:
        """Return coefficients of shape (outputs, width) and intercepts of shape (outputs,)."""

    @abstractmethod
    def _fitted(self, source: Source, coef: Floats, intercept: Floats) -> BaseEstimator:
        """Return the decisions as a classifier of class codes, which takes `MatrixRows`."""

    def fit(
        self,
        X: ArrayLike | MatrixRows,
        y: ArrayLike,
        groups: Units = None,
        images: Units = None,
        variant: Variant = None,
    ) -> BaseCalibratedBlocks:
        """Fit on X of shape (n, d) and n labels, with at least two images per class.

        `FitArguments` describes `groups`, `images` and `variant`, of shape (n,).
        """
        rows, codes = self._checked_rows(X, y)
        folds = calibration_folds(codes, FitArguments(groups, images, variant), self.random_state)
        pairs = folds if isinstance(folds, list) else list(folds.split(codes, codes))
        source = self._prepared(rows)
        weights = self._row_weights(codes, variant).get("sample_weight")
        self.fitted_ = self._fitted(source, *self._solve(source, codes, weights))
        self.calibrate(self._held_out(source, codes, weights, pairs), codes, variant)
        return self

    def _held_out(
        self, source: Source, codes: Codes, weights: Weights, folds: Sequence[Fold]
    ) -> Floats:
        """Return the decision of each row by a fit without its inner fold."""
        shape = (len(codes),) if len(self.classes_) == 2 else (len(codes), len(self.classes_))
        decisions = np.empty(shape)
        for train, test in folds:
            own = None if weights is None else weights[train]
            coef, intercept = self._solve(source.take(train), codes[train], own)
            decisions[test] = decisions_of(source.take(test), coef, intercept)
        return decisions

    def predict_path(
        self,
        X: ArrayLike | MatrixRows,
        y: NDArray[Any],
        X_new: ArrayLike | MatrixRows,
        points: Sequence[Mapping[str, Any]],
        variant: Variant = None,
    ) -> Iterator[NDArray[Any]]:
        """Yield the labels of new rows for each of several parameter settings, uncalibrated."""
        new = MatrixRows.of(X_new)
        for point in points:
            classifier = clone(self).set_params(**point)
            rows, codes = classifier._checked_rows(X, y)
            source = classifier._prepared(rows)
            weights = classifier._row_weights(codes, variant).get("sample_weight")
            fitted = classifier._fitted(source, *classifier._solve(source, codes, weights))
            yield classifier.classes_[fitted.predict(new)]


class BaseCalibratedColumns(BaseCalibratedBlocks):
    """Base class of those whose decisions are linear in the columns, which are standardised."""

    def _prepared(self, rows: MatrixRows) -> StandardisedRows:
        return rows.standardised

    def _fitted(self, source: Source, coef: Floats, intercept: Floats) -> LinearDecisions:
        assert isinstance(source, StandardisedRows)
        return LinearDecisions.of(*source.on_columns(coef, intercept), len(self.classes_))
