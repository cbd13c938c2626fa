"""Analyses that a benchmark's folder keeps, so that the next page doesn't compute them again."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tlfeatures.benchmarking.digests import versions
from tlfeatures.errors import BusyError, OutputError
from tlfeatures.files import replace_file
from tlfeatures.locks import locked
from tlfeatures.model_selection.audit.results import Audit
from tlfeatures.model_selection.learning_curve.results import LearningCurve
from tlfeatures.model_selection.training_curve import TrainingCurve

logger = logging.getLogger(__name__)

FILE = "analyses.json"
_PATIENCE = 60.0  # seconds, for another page that is being written

Analysis = TypeVar("Analysis", LearningCurve, TrainingCurve, Audit)


class AnalysisCache:
    """Analyses in a folder, each by a hash of what it was computed from.

    Parameters
    ----------
    folder : str or None
        A benchmark's folder; None keeps nothing.
    """

    def __init__(self, folder: str | None) -> None:
        self._path = None if folder is None else Path(folder) / FILE

    def get(
        self, kind: type[Analysis], inputs: list[Any], compute: Callable[[], Analysis]
    ) -> Analysis:
        """Return the analysis that the folder has; otherwise compute and keep it.

        Parameters
        ----------
        kind : class
        inputs : list of JSON-ready values
            What the result depends on, besides the versions of libraries.
        compute : callable
        """
        text = json.dumps([kind.__name__, inputs, versions()])
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        kept = self._read()
        if key in kept:
            return kind.from_dict(kept[key])
        result = compute()
        self._keep(key, result.to_dict())
        return result

    def _read(self) -> dict[str, Any]:
        if self._path is None:
            return {}
        try:
            stored = json.loads(self._path.read_text("utf-8"))
            kept: dict[str, Any] = stored["kept"]
            whole = stored["sha256"] == _digest(kept)
        except (OSError, ValueError, TypeError, KeyError):  # missing, or cut off
            return {}
        return kept if whole else {}  # a damaged copy is computed again

    def _keep(self, key: str, facts: dict[str, Any]) -> None:
        """Add an analysis; other processes may add theirs at the same time."""
        if self._path is None:
            return
        try:
            with locked(self._path, _PATIENCE):
                kept = {**self._read(), key: facts}
                text = json.dumps({"sha256": _digest(kept), "kept": kept})
                replace_file(self._path, text.encode())
        except (OutputError, BusyError) as error:  # the page can show it all the same
            logger.info("what was computed for the page can't be kept: %s", error)


def _digest(kept: Any) -> str:
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()
