"""A cache of analyses in a benchmark's folder, so that they are computed only once."""

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
_PATIENCE = 60.0  # longest wait for another process that writes the file, in seconds

Analysis = TypeVar("Analysis", LearningCurve, TrainingCurve, Audit)


class AnalysisCache:
    """Cache of analyses in a folder. The key of an analysis is a hash of its inputs.

    Parameters
    ----------
    folder : str or None
        Folder of a benchmark. With None, nothing is cached.
    """

    def __init__(self, folder: str | None) -> None:
        self._path = None if folder is None else Path(folder) / FILE

    def get(
        self, kind: type[Analysis], inputs: list[Any], compute: Callable[[], Analysis]
    ) -> Analysis:
        """Return an analysis from the folder. If it is not there, compute and store it.

        Parameters
        ----------
        kind : class
            Class of the analysis.
        inputs : list of JSON-ready values
            Values on which the result depends, in addition to the versions of libraries.
        compute : callable
            Function without arguments that computes the analysis.
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
        return kept if whole else {}  # analyses of a damaged file are computed again

    def _keep(self, key: str, facts: dict[str, Any]) -> None:
        """Add an analysis. Other processes may add analyses at the same time."""
        if self._path is None:
            return
        try:
            with locked(self._path, _PATIENCE):
                kept = {**self._read(), key: facts}
                text = json.dumps({"sha256": _digest(kept), "kept": kept})
                replace_file(self._path, text.encode())
        except (OutputError, BusyError) as error:  # the page does not need the file
            logger.info("the analyses of the page can't be stored: %s", error)


def _digest(kept: Any) -> str:
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()
