"""Running a benchmark: every head on every embedding, with the same folds, and ranking them.

An entry is one head on one embedding in one repeat. Entries that are added to a folder (heads,
embeddings, repeats) are ranked together with those that it has.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlfeatures.benchmarking.benchmark import Benchmark
from tlfeatures.benchmarking.common_images import load_datasets
from tlfeatures.benchmarking.compute import FIT_VERSION, compute_entries
from tlfeatures.benchmarking.entries import Entry
from tlfeatures.benchmarking.plan import Plan
from tlfeatures.benchmarking.rank import compare
from tlfeatures.benchmarking.store.store import ResultStore
from tlfeatures.benchmarking.study import Study, sources_of
from tlfeatures.dataset.duplicates import Similarity
from tlfeatures.dataset.labels import Groups, Labels
from tlfeatures.dataset.load import Data
from tlfeatures.errors import ParameterError
from tlfeatures.features.cluster.connect import TLS, connect_if
from tlfeatures.heads.table import Heads, make_heads, named_heads, report_missing_params
from tlfeatures.model_selection.progress import Progress, ProgressCounter
from tlfeatures.model_selection.trainer import Trainer

if TYPE_CHECKING:
    from tlfeatures.features.cluster.client import Client

logger = logging.getLogger(__name__)


def benchmark(
    data: Data | Sequence[Data],
    *,
    heads: Heads = "all",
    embeddings: str | Sequence[str] = "all",
    labels: Labels = None,
    groups: Groups = None,
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
    random_state: int | None = 0,
    cluster: str | Client | None = None,
    tls: TLS | None = None,
    command: str | None = None,
    progress: Progress | None = None,
) -> Benchmark:
    """Compare heads and embeddings on the same folds of the same images.

    Parameters
    ----------
    data : path, Dataset, or sequence of them
        Embeddings files and datasets of the same images.
    heads : names, scikit-learn classifiers, or a mapping of name to either
        See `make_heads`; "all" are those of `HEADS`.
    embeddings : str or sequence of str
        Names, also several joined as `A+B`, or "all" for all that the files have.
    labels, groups, label_level, label_columns, near_duplicates, variants
        See `load_dataset`; for files only.
    cv, split
        See `cross_validate`.
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
    random_state : int or None
        Seed of folds, heads and resamples.
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

    Examples
    --------
    >>> benchmark("photos.h5", heads=["logreg", "knn"])  # doctest: +SKIP
    >>> benchmark(load_dataset("photos.h5"), heads={"deep": MLPClassifier()})  # doctest: +SKIP
    """
    heads = named_heads(heads)
    report_missing_params(heads, params)
    make_heads(heads, params)  # it refuses a wrong name before any file is read
    datasets = load_datasets(
        data,
        embeddings,
        labels=labels,
        groups=groups,
        label_level=label_level,
        label_columns=label_columns,
        near_duplicates=near_duplicates,
        variants=variants,
    )
    plan = Plan.of(
        datasets[0],
        heads,
        params=params,
        tune=tune,
        scoring=scoring,
        cv=cv,
        split=split,
        repeats=repeats,
        random_state=random_state,
    )
    sources = sources_of(datasets, labels, groups)
    study = Study.of(datasets[0], plan.split, plan.folds[0], random_state, sources)
    store = ResultStore.open(out, study)
    add_command(store, command)
    count = ProgressCounter(plan.count_folds(len(datasets)), progress)
    with connect_if(cluster, tls) as connected:
        for dataset in datasets:
            with Trainer(dataset, n_jobs=n_jobs, progress=count.add, cluster=connected) as trainer:
                compute_entries(trainer, plan, store)
    count.finish()
    return ranked(plan, store)


def add_command(store: ResultStore, command: str | None) -> None:
    """Keep the command line with the results of a run, before it computes any."""
    if command is not None and command not in store.commands:
        store.commands.append(command)


def ranked(plan: Plan, store: ResultStore) -> Benchmark:
    """Rank all entries of a store, also those that other runs have written, and write the ranking.

    Parameters
    ----------
    plan : Plan
    store : ResultStore

    Raises
    ------
    ParameterError
        If there are no entries, or none has the score that ranks.
    """
    if not store.entries:
        raise ParameterError("none of these heads could be fitted; the reasons are said above")
    with store.updating():
        entries = _rankable(store.entries, plan.ranked_by)
        comparison = compare(entries, store.study, plan.ranked_by, plan.scorer)
        store.write(comparison.to_dict())
    folder = None if store.folder is None else str(store.folder)
    return Benchmark(store.study, store.entries, comparison, store.computed, folder, store.commands)


def _rankable(entries: list[Entry], scoring: str) -> list[Entry]:
    """Leave out entries that can't be compared with those of this run, and say which ones."""
    kept = [entry for entry in entries if entry.facts["fit_version"] == FIT_VERSION]
    if len(kept) < len(entries):
        logger.warning(
            "%d entries are not ranked, because another version of tlfeatures fitted them; run "
            "their benchmark again to compute them anew",
            len(entries) - len(kept),
        )
    without = {entry.facts["head"] for entry in kept if scoring not in entry.facts["scores"]}
    if without:
        logger.warning(
            "not ranked, because they were computed without the score %s: %s; run their benchmark "
            "again with this score",
            scoring,
            ", ".join(sorted(without)),
        )
    return kept
