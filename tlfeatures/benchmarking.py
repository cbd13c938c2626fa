"""What the command `benchmark` does: every head on every embedding, on the same folds.

A benchmark lives in a folder as plain data. ``results.json`` has the entries, one for each head,
embedding and repeat, and the ranking; ``predictions.csv`` the out-of-fold probabilities. An entry
knows by a key what it was computed from, so that nothing is computed twice, and what is added
(heads, embeddings, repeats) is ranked with what is there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tlfeatures.comparison import Comparison, compare
from tlfeatures.dataset import Dataset, load_dataset
from tlfeatures.duplicates import NEAR_DUPLICATE
from tlfeatures.engine import Engine
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.evaluate import cross_validate_heads
from tlfeatures.features.spec import as_list, unknown_name
from tlfeatures.features.store import read_header
from tlfeatures.folds import INNER_CV, make_folds
from tlfeatures.heads import head_grid, head_names, make_heads, plain_params
from tlfeatures.results import Entry, Results, Study, entry_of

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark gave.

    Attributes
    ----------
    study : Study
        The images, their classes and how they were cut.
    entries : list of Entry
        One for each head, embedding and repeat, also those of earlier runs in the same folder.
    comparison : Comparison
        The ranking, and which heads can be told from the best.
    computed : int
        Entries that this run computed; the others were there.
    out : str or None
        The folder.
    """

    study: Study
    entries: list[Entry]
    comparison: Comparison
    computed: int
    out: str | None

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-ready plain data: what `results.json` holds."""
        return {
            **self.study.to_dict(),
            **self.comparison.to_dict(),
            "heads": [entry.facts for entry in self.entries],
        }


@dataclass(frozen=True)
class _Plan:
    """What is to be computed, before anything is."""

    params: Mapping[str, Any]
    names: list[str]
    tune: bool
    scoring: list[str]
    cv: Any
    split: str
    seed: int


def benchmark(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    heads: str | Sequence[str] = "all",
    embeddings: str | Sequence[str] = "all",
    labels: str | os.PathLike[str] | Mapping[str, str] | None = None,
    groups: str | os.PathLike[str] | None = None,
    near_duplicates: float | None = NEAR_DUPLICATE,
    cv: Any = None,
    split: str = "auto",
    repeats: int = 1,
    tune: bool = False,
    params: Mapping[str, Any] | None = None,
    scoring: str | Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
    n_jobs: int | None = -1,
    random_state: int = 0,
    progress: Progress | None = None,
) -> Benchmark:
    """Compare heads and embeddings on the same folds of the same images.

    Parameters
    ----------
    files : path or sequence of paths
        Embeddings files of the same images.
    heads : str or sequence of str
        See `make_head`; "all" are those of `HEADS`.
    embeddings : str or sequence of str
        Names, or "all" that the files have.
    labels, groups, near_duplicates
        See `load_dataset`.
    cv, split
        See `cross_validate_heads`.
    repeats : int
        Cross-validations, each with other folds and seeds; more of them tell smaller differences.
    tune : bool
        Choose parameters by cross-validation inside each training fold (nested).
    params : mapping, optional
        Of the heads, see `make_heads`; what is given is not tuned.
    scoring : str or sequence of str
        Further scores; the first one ranks, else accuracy.
    out : path, optional
        Folder of the results, made if it isn't there. What it already has isn't computed again.
    n_jobs : int or None
        Folds fitted at once; the numbers don't depend on it.
    random_state : int
    progress : callable of (done, total), optional
        Told the folds that are done.

    Returns
    -------
    Benchmark

    Raises
    ------
    DatasetError
        If the files have no images in common, or label them differently.
    ParameterError
        For an unknown head, embedding, score or split, or if `out` holds another study.
    """
    plan = _Plan(params or {}, head_names(heads), tune, as_list(scoring), cv, split, random_state)
    make_heads(plan.names, plan.params)  # a wrong name is said before any file is read
    if repeats < 1:
        raise ParameterError(f"repeats must be 1 or more, got {repeats}")
    datasets = _load(files, embeddings, labels, groups, near_duplicates)
    first = next(iter(datasets.values()))
    chosen, folds = make_folds(first, cv=cv, split=split, random_state=random_state)
    if chosen != "cv" and repeats > 1:
        raise ParameterError(
            f"{repeats} repeats need cross-validation, and the {chosen} split is always the same: "
            "--split cv, or --repeats 1"
        )
    study = Study.of(first, chosen, folds, random_state)
    results = Results.open(out, study)
    before = len(results.entries)
    units = len(datasets) * repeats * len(folds) * (1 + INNER_CV * tune)
    done = _Counter(units, progress)
    for name, data in datasets.items():
        with Engine(data, n_jobs=n_jobs, progress=done.add) as engine:
            for repeat in range(repeats):
                if _compute(engine, name, repeat, plan, results):
                    results.save()
    done.finish()
    ranking = plan.scoring[0] if plan.scoring else "accuracy"
    comparison = compare(results.entries, study, ranking, random_state)
    results.save(comparison.to_dict())
    computed = len(results.entries) - before
    return Benchmark(study, results.entries, comparison, computed, _text(out))


def _compute(engine: Engine, name: str, repeat: int, plan: _Plan, results: Results) -> bool:
    """Compute the heads that are not there yet; tell whether there were any."""
    data = engine.data
    seed = plan.seed + repeat
    heads = make_heads(plan.names, plan.params, random_state=seed)
    grids = {each: dict(head_grid(each, plan.params)) if plan.tune else {} for each in heads}
    matrix = _fingerprint(data)
    keys = {
        each: _key(matrix, each, plain_params(head), grids[each], seed, plan)
        for each, head in heads.items()
    }
    missing = {each: head for each, head in heads.items() if not results.has(keys[each])}
    if not missing:
        return False
    evaluations = cross_validate_heads(
        missing,
        data,
        cv=plan.cv,
        split=plan.split,
        grids=grids if plan.tune else None,
        scoring=plan.scoring,
        random_state=seed,
        engine=engine,
    )
    for each, evaluation in evaluations.items():
        facts = {
            "head": each,
            "embedding": name,
            "repeat": repeat,
            "tuned": bool(grids[each]),
            "params": plain_params(heads[each]),
            "key": keys[each],
        }
        results.add(entry_of(evaluation, facts))
    return True


def _key(matrix: str, head: str, params: Any, grid: Any, seed: int, plan: _Plan) -> str:
    parts = [matrix, head, params, grid, seed, plan.scoring, repr(plan.cv), plan.split]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def _fingerprint(data: Dataset) -> str:
    """The embedding's values: a file made again gives the same key if it is the same."""
    return hashlib.sha256(np.ascontiguousarray(data.X).data).hexdigest()


def _text(out: str | os.PathLike[str] | None) -> str | None:
    return None if out is None else str(out)


class _Counter:
    """Folds done, of all; those that were there are counted at the end."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0.0, total, progress

    def add(self, units: float) -> None:
        self._done = min(self._done + units, self._total)
        if self._progress is not None:
            self._progress(int(self._done), self._total)

    def finish(self) -> None:
        self.add(self._total)


# ---- the same images of every file


def _load(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    embeddings: str | Sequence[str],
    labels: Any,
    groups: Any,
    near_duplicates: float | None,
) -> dict[str, Dataset]:
    """Each wanted embedding of each file, cut to the images that all have, copies put together."""
    paths = list(dict.fromkeys(str(path) for path in _listed(files)))
    held = {path: list(read_header(path).embeddings) for path in paths}
    wanted = as_list(embeddings)
    for name in wanted:
        if name != "all" and not any(name in names for names in held.values()):
            every = list(dict.fromkeys(name for names in held.values() for name in names))
            raise unknown_name(f"embedding of {', '.join(paths)}", name, [*every, "all"])
    pairs = [
        (path, name) for path in paths for name in held[path] if name in wanted or "all" in wanted
    ]
    names = [name for _, name in pairs]
    datasets = {
        (name if names.count(name) == 1 else f"{Path(path).name}:{name}"): load_dataset(
            path, name, labels, groups=groups, near_duplicates=near_duplicates
        )
        for path, name in pairs
    }
    if len(datasets) < len(pairs):
        raise ParameterError("two files have the same name; rename one, to tell them apart")
    return _aligned(datasets)


def _listed(files: Any) -> list[str | os.PathLike[str]]:
    return [files] if isinstance(files, str | os.PathLike) else list(files)


def _aligned(datasets: dict[str, Dataset]) -> dict[str, Dataset]:
    common = sorted(set.intersection(*(set(data.ids.tolist()) for data in datasets.values())))
    if not common:
        raise DatasetError(f"{', '.join(datasets)} have no image in common")
    most = max(len(data.ids) for data in datasets.values())
    if len(common) < most:
        logger.warning(
            "%d of %d images are in every file; the others are left out", len(common), most
        )
    cut = {name: _rows(data, common) for name, data in datasets.items()}
    first = next(iter(cut.values()))
    for name, data in cut.items():
        if (data.y != first.y).any():
            row = int(np.flatnonzero(data.y != first.y)[0])
            raise DatasetError(
                f"{data.ids[row]} is {first.y[row]} in one file and {data.y[row]} in {name}; give "
                "--labels CSV"
            )
    copies = np.unique(np.concatenate([data.copies for data in cut.values()]), axis=0)
    return {name: replace(data, copies=copies) for name, data in cut.items()}


def _rows(data: Dataset, ids: list[str]) -> Dataset:
    """The rows of these ids, in their order."""
    place = {id_: row for row, id_ in enumerate(data.ids.tolist())}
    rows = np.array([place[id_] for id_ in ids])
    if np.array_equal(rows, np.arange(len(data.ids))):
        return data
    new = np.full(len(data.ids), -1)
    new[rows] = np.arange(len(rows))
    copies = new[data.copies]
    return replace(
        data,
        X=data.X[rows],
        y=data.y[rows],
        ids=data.ids[rows],
        groups=None if data.groups is None else data.groups[rows],
        split=None if data.split is None else data.split[rows],
        copies=np.sort(copies[(copies >= 0).all(axis=1)], axis=1),
    )
