"""Running a benchmark: every head on every embedding, with the same folds.

An entry is one head on one embedding in one repeat. Its key is a hash of all that it was computed
from, so that nothing is computed twice. Entries that are added to a folder (heads, embeddings,
repeats) are ranked together with those that it has.
"""

from __future__ import annotations

import hashlib
import json
import logging
import numbers
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlfeatures.benchmarking.benchmark import Benchmark
from tlfeatures.benchmarking.common_images import load_datasets
from tlfeatures.benchmarking.digests import digest_of_folds, fingerprint, versions
from tlfeatures.benchmarking.entries import entry_facts, entry_of
from tlfeatures.benchmarking.rank import compare
from tlfeatures.benchmarking.store.store import ResultStore
from tlfeatures.benchmarking.study import Study, sources_of
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.errors import ParameterError
from tlfeatures.features.cluster.connect import TLS, connect_if
from tlfeatures.heads.parameters import plain_params, with_new_params, without_new_params
from tlfeatures.heads.table import head_grid, head_names, make_heads
from tlfeatures.model_selection.cross_validation import (
    Evaluation,
    check_scoring,
    cross_validate_heads,
)
from tlfeatures.model_selection.folds import INNER_CV, make_folds
from tlfeatures.model_selection.progress import Progress, ProgressCounter
from tlfeatures.model_selection.trainer import Trainer
from tlfeatures.names import as_list

if TYPE_CHECKING:
    from tlfeatures.features.cluster.client import Client

logger = logging.getLogger(__name__)

# Version of how heads are fitted, calibrated and scored. Increase it if this changes, so that the
# entries of a folder are computed again.
FIT_VERSION = 3


@dataclass(frozen=True)
class _Plan:
    """What a run has to compute."""

    params: Mapping[str, Any]
    names: list[str]
    tune: bool
    scoring: list[str]
    split: str
    folds: list[list[Fold]]  # of each repeat
    seed: int


def benchmark(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    heads: str | Sequence[str] = "all",
    embeddings: str | Sequence[str] = "all",
    labels: str | os.PathLike[str] | Mapping[str, str] | None = None,
    groups: str | os.PathLike[str] | None = None,
    label_level: int | None = None,
    label_columns: Mapping[str, str] | None = None,
    near_duplicates: Similarity = "auto",
    variants: int | None = None,
    cv: Any = None,
    split: str = "auto",
    repeats: int = 1,
    tune: bool = False,
    params: Mapping[str, Any] | None = None,
    scoring: str | Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
    n_jobs: int | None = -1,
    random_state: int = 0,
    cluster: str | Client | None = None,
    tls: TLS | None = None,
    command: str | None = None,
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
        Names, also several joined as `A+B`, or "all" for all that the files have.
    labels, groups, label_level, label_columns, near_duplicates, variants
        See `load_dataset`.
    cv, split
        See `cross_validate_heads`.
    repeats : int
        Number of cross-validations with different folds and seeds; more find smaller differences.
    tune : bool
        Choose parameters by cross-validation inside each training fold (nested).
    params : mapping, optional
        Parameters of the heads, see `make_heads`; they are not tuned.
    scoring : str or sequence of str
        Further scores; the first one ranks the heads, by default accuracy.
    out : path, optional
        Folder of the results, created if needed. Entries that it has are not computed again.
    n_jobs : int or None
        Number of folds fitted at once; the results don't depend on it.
    random_state : int
    cluster : str or distributed.Client, optional
        Its workers fit the folds instead of `n_jobs` processes: the address of a Dask scheduler,
        "local" to start one on this machine, or a client. The results don't depend
        on it.
    tls : TLS, optional
        Certificates, see `tlfeatures.features.cluster.connect.TLS`.
    command : str, optional
        The command line, kept with the results for people to read.
    progress : callable of (done, total), optional
        Called after each fold.

    Returns
    -------
    Benchmark

    Raises
    ------
    ClusterError
        If the scheduler can't be reached, or is lost, or its workers can't fit the folds; with
        `out`, the same call continues where it stopped.
    DatasetError
        If the files have no images in common, or different labels for an image.
    ParameterError
        If a head, embedding, score or split is unknown, or `out` has results of another study.
    """
    names, scoring = head_names(heads), as_list(scoring)
    if not names:
        raise ParameterError("there is no head to compare; take some, or all")
    make_heads(names, params)  # report a wrong name before any file is read
    sources: dict[str, Any] = {
        "labels": labels,
        "groups": groups,
        "near_duplicates": near_duplicates,
        "label_level": label_level,
        "label_columns": label_columns,
    }
    datasets = load_datasets(files, embeddings, {**sources, "variants": variants})
    first = next(iter(datasets.values()))
    check_scoring(scoring, first.classes)
    chosen, folds = _folds(first, cv, split, repeats, random_state)
    plan = _Plan(params or {}, names, tune, scoring, chosen, folds, random_state)
    described = sources_of(datasets.values(), labels, groups, near_duplicates)
    store = ResultStore.open(out, Study.of(first, chosen, folds[0], random_state, described))
    if command is not None and command not in store.commands:
        store.commands.append(command)
    count = ProgressCounter(
        len(datasets) * repeats * len(folds[0]) * (1 + INNER_CV * tune), progress
    )
    with connect_if(cluster, tls) as connected:
        for data in datasets.values():
            matrix = fingerprint(data)
            with Trainer(data, n_jobs=n_jobs, progress=count.add, cluster=connected) as trainer:
                for repeat in range(repeats):
                    _compute(trainer, matrix, repeat, plan, store)
    count.finish()
    if not store.entries:
        raise ParameterError("none of these heads could be fitted; the reasons are said above")
    with store.updating():  # so that entries of other runs are ranked too
        comparison = compare(
            store.entries, store.study, scoring[0] if scoring else "accuracy", random_state
        )
        store.write(comparison.to_dict())
    folder = None if out is None else str(out)
    return Benchmark(store.study, store.entries, comparison, store.computed, folder, store.commands)


def _folds(
    data: Dataset, cv: Any, split: str, repeats: int, seed: int
) -> tuple[str, list[list[Fold]]]:
    """Return the name of the split and the folds of each repeat."""
    if repeats < 1:
        raise ParameterError(f"repeats must be 1 or more, got {repeats}")
    chosen, first = make_folds(data, cv=cv, split=split, random_state=seed)
    if repeats > 1 and chosen != "cv":
        raise ParameterError(
            f"{repeats} repeats need cross-validation, and the {chosen} split is always the same: "
            "--split cv, or --repeats 1"
        )
    if repeats > 1 and not (cv is None or isinstance(cv, numbers.Integral)):
        raise ParameterError(
            f"{repeats} repeats need a number of folds as cv: a splitter would cut the same again"
        )
    again = (
        make_folds(data, cv=cv, split=split, random_state=seed + repeat)[1]
        for repeat in range(1, repeats)
    )
    return chosen, [first, *again]


def _compute(trainer: Trainer, matrix: str, repeat: int, plan: _Plan, store: ResultStore) -> None:
    """Compute the entries that the store does not have."""
    seed = plan.seed + repeat
    heads = make_heads(plan.names, plan.params, random_state=seed)
    grids = {name: dict(head_grid(name, plan.params)) if plan.tune else {} for name in heads}
    base = matrix + digest_of_folds(plan.folds[repeat], trainer.data.together)
    base += f"+{FIT_VERSION}"
    file, rows = trainer.data.file, len(trainer.data.y) * (1 + trainer.data.n_variants)
    keys = {
        name: [
            entry_key(base, name, params, grids[name], seed, plan.scoring)
            for params in (head.get_params(), without_new_params(name, head, rows))
        ]
        for name, head in heads.items()
    }
    missing = {name: head for name, head in heads.items() if not store.has(keys[name], file)}
    evaluations = _evaluations(trainer, missing, grids, repeat, plan)
    for name, evaluation in evaluations.items():
        facts = entry_facts(
            trainer.data,
            matrix,
            head=name,
            repeat=repeat,
            tuned=bool(grids[name]),
            params=with_new_params(name, plain_params(heads[name]), rows),
            key=keys[name][0],
        )
        store.add(entry_of(evaluation, facts))


def _evaluations(
    trainer: Trainer, heads: Mapping[str, Any], grids: Mapping[str, Any], repeat: int, plan: _Plan
) -> dict[str, Evaluation]:
    """Cross-validate heads; those that can't be fitted are left out with a warning."""

    def evaluate(some: Mapping[str, Any]) -> dict[str, Evaluation]:
        return cross_validate_heads(
            some,
            trainer.data,
            grids=grids if plan.tune else None,
            scoring=plan.scoring,
            random_state=plan.seed + repeat,
            trainer=trainer,
            folds=(plan.split, plan.folds[repeat]),
        )

    if not heads:
        return {}
    try:
        return evaluate(heads)
    except ParameterError:
        if len(heads) == 1 and len(plan.names) == 1:
            raise
    done: dict[str, Evaluation] = {}
    for name, head in heads.items():
        try:
            done |= evaluate({name: head})
        except ParameterError as error:
            logger.warning("%s is left out: %s", name, error)
    return done


def entry_key(
    base: str, name: str, params: Mapping[str, Any], grid: Any, seed: int, scoring: list[str]
) -> str:
    """Return the key of an entry: a hash of all that it is computed from."""
    values = sorted((key, repr(value)) for key, value in params.items())
    parts = [base, name, values, repr(grid), seed, scoring, versions()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
