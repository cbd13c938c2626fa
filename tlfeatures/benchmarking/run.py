"""The function `benchmark`: fit every head on every embedding with the same folds, and rank them.

An entry is one head on one embedding in one repeat. A run adds its entries to the folder of
results, and ranks them together with the entries of earlier runs.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlfeatures.benchmarking.benchmark_result import Benchmark
from tlfeatures.benchmarking.common_images import load_datasets
from tlfeatures.benchmarking.comparison import Comparison
from tlfeatures.benchmarking.compute import FIT_VERSION, compute_entries
from tlfeatures.benchmarking.control import Control
from tlfeatures.benchmarking.controls import compute_controls
from tlfeatures.benchmarking.entries import Entry
from tlfeatures.benchmarking.plan import Plan
from tlfeatures.benchmarking.rank import compare
from tlfeatures.benchmarking.store.store import ResultStore
from tlfeatures.benchmarking.study import Study, sources_of
from tlfeatures.benchmarking.trainers import may_be_sums, open_trainer, place_rows
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity
from tlfeatures.dataset.labels import Groups, Labels
from tlfeatures.dataset.load import Data
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.errors import ParameterError
from tlfeatures.features.cluster.connect import TLS, connect_if
from tlfeatures.heads.forms import MANY_ROWS, has_many_rows
from tlfeatures.heads.make_heads import Heads, check_heads, named_heads
from tlfeatures.heads.table import OneHead
from tlfeatures.model_selection.folds import Folding
from tlfeatures.model_selection.progress import ProgressCounter
from tlfeatures.progress import Progress, shown_progress

if TYPE_CHECKING:
    from tlfeatures.features.cluster.client import Client

logger = logging.getLogger(__name__)

RANKING = 1  # steps of the progress: scores and ranking take at most about as long as a fold


def benchmark(
    data: Data | Sequence[Data],
    heads: Heads = "all",
    *,
    embeddings: str | Sequence[str] = "all",
    labels: Labels = None,
    groups: Groups = None,
    label_level: int | None = None,
    columns: Mapping[str, str] | None = None,
    near_duplicates: Similarity = "auto",
    variants: int | None = None,
    cv: Folding | None = None,
    split: str = "auto",
    repeats: int = 1,
    tune: bool = False,
    params: Mapping[str, Any] | None = None,
    scoring: str | Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
    n_jobs: int | None = -1,
    random_state: int | None = 0,
    scale_from: int = MANY_ROWS,
    cluster: str | Client | None = None,
    tls: TLS | None = None,
    command: str | None = None,
    progress: bool | Progress | None = None,
) -> Benchmark:
    """Compare heads and embeddings on the same folds of the same images.

    Parameters
    ----------
    data : path, Dataset, or sequence of them
        Embeddings files and datasets of the same images.
    heads : names, scikit-learn classifiers, or a mapping of name to either
        See `make_heads`; "all" means every head of `HEADS`.
    embeddings : str or sequence of str
        Names of embeddings, joined embeddings such as `A+B`, or "all" for every embedding of the
        files. `a.h5:A+b.h5:B` joins embeddings of two of the files, see `load_dataset`.
    labels, groups, label_level, columns, near_duplicates, variants
        See `load_dataset`. They apply to files, not to datasets.
    cv, split
        See `cross_validate`.
    repeats : int
        Number of cross-validations, each with other folds and seeds. More repeats can detect
        smaller differences.
    tune : bool
        Choose parameters by cross-validation inside each training fold (nested).
    params : mapping, optional
        Parameters of the heads, see `make_heads`. Tuning does not change them.
    scoring : str or sequence of str
        Further scores. The first one ranks the heads; the default is accuracy.
    out : path, optional
        Folder of the results; it is created if it does not exist. Entries that are already in the
        folder are not computed again.
    n_jobs : int or None
        Number of folds fitted at once; the results don't depend on it.
    random_state : int or None
        Seed of folds, heads and resamples.
    scale_from : int
        Number of training rows (images and their variants) from which the heads that are given by
        name have their forms for many rows, see `tlfeatures.heads.forms`; 20,000 by default. 0:
        always these forms; a number above that of the rows: the exact heads.
    cluster : str or distributed.Client, optional
        A Dask cluster whose workers fit the folds, instead of `n_jobs` processes: the address of
        a scheduler, "local" to start one on this machine, or a client. It does not change the
        results, with one exception: if the file is sharded and all heads are logreg, ridge, lda or
        centroid, without tuning, the workers read the shards, and this process never holds all
        rows. Labels are then the same except for rounding; the probabilities of ridge and centroid
        differ a little, see `tlfeatures.model_selection.sums.trainer`.
    tls : TLS, optional
        Certificates, see `tlfeatures.features.cluster.connect.TLS`.
    command : str, optional
        The command line, stored with the results as information for people.
    progress : bool or callable of (done, total), optional
        Counts folds, and the ranking. See `extract`.

    Returns
    -------
    Benchmark

    Raises
    ------
    ClusterError
        If the scheduler can't be reached, the connection to it is lost, or its workers can't fit
        the folds. With `out`, the same call continues where this one stopped.
    DatasetError
        If the files have no images in common, or different labels for an image.
    ParameterError
        If a head, embedding, score or split is unknown, or `out` has results of another study.

    Examples
    --------
    >>> benchmark("photos.h5", heads=["logreg", "knn"])  # doctest: +SKIP
    >>> benchmark(load_dataset("photos.h5"), heads={"deep": MLPClassifier()})  # doctest: +SKIP
    """
    named = checked_heads(heads, params)
    datasets = load_datasets(
        data,
        embeddings,
        labels=labels,
        groups=groups,
        label_level=label_level,
        columns=columns,
        near_duplicates=near_duplicates,
        variants=variants,
        on_disk=may_be_sums(cluster, named, params, tune),
    )
    plan = Plan.of(
        datasets[0],
        named,
        params=params,
        tune=tune,
        scoring=scoring,
        cv=cv,
        split=split,
        repeats=repeats,
        random_state=random_state,
        many_rows=has_many_rows(max(map(TrainingRows.count, datasets)), scale_from),
    )
    datasets, plan = place_rows(datasets, plan, cluster)
    store = open_store(plan, datasets, labels, groups, out=out, command=command)
    shown = shown_progress(progress, "fitting", "folds")
    with shown as show, connect_if(cluster, tls) as connected:
        count = ProgressCounter(plan.count_folds(len(datasets)) + RANKING, show)
        for dataset in datasets:
            with open_trainer(
                dataset, plan, n_jobs=n_jobs, progress=count.add, cluster=connected
            ) as trainer:
                compute_entries(trainer, plan, store)
        result = ranked(plan, store, datasets)
        count.finish()
    return result


def checked_heads(heads: Heads, params: Mapping[str, Any] | None) -> dict[str, OneHead]:
    """Return heads by name. Call it before a file is read, so that wrong names are found early.

    Parameters
    ----------
    heads, params
        See `make_heads`.

    Raises
    ------
    ParameterError
        If a head or a parameter is unknown.
    """
    named = named_heads(heads)
    check_heads(named, params)
    return named


def open_store(
    plan: Plan,
    datasets: Sequence[Dataset],
    labels: Labels,
    groups: Groups,
    *,
    out: str | os.PathLike[str] | None = None,
    command: str | None = None,
) -> ResultStore:
    """Create the study of a plan, and open the store for its entries.

    Parameters
    ----------
    plan : Plan
    datasets : sequence of Dataset
        All datasets of the benchmark. They have the same images.
    labels, groups
        The arguments that the datasets were loaded with.
    out : path, optional
        Folder of the results; None stores them in memory.
    command : str, optional
        The command line of this run.

    Raises
    ------
    ParameterError
        If `out` has results of another study.
    """
    sources = sources_of(datasets, labels, groups)
    study = Study.of(datasets[0], plan.split, plan.folds[0], plan.random_state, sources)
    store = ResultStore.open(out, study)
    if command is not None and command not in store.commands:
        store.commands.append(command)
    return store


def ranked(plan: Plan, store: ResultStore, datasets: Sequence[Dataset]) -> Benchmark:
    """Rank the entries of a store, and write the ranking. Entries of other runs are included.

    Parameters
    ----------
    plan : Plan
        Its first score ranks the heads.
    store : ResultStore
        The entries. If the store has a folder, the ranking is written to it.
    datasets : sequence of Dataset
        All datasets of this run, for the controls.

    Raises
    ------
    ParameterError
        If there are no entries, or the score that ranks the heads is not defined for any of them.
    """
    if not store.entries:
        raise ParameterError(
            "none of these heads could be fitted; the warnings of this run give the reasons"
        )
    with store.updating():
        store.name_files()
        entries = _rankable(store.entries, plan.ranked_by)

        def controls(ranking: Comparison) -> list[Control]:
            return compute_controls(ranking, plan, store, datasets)

        comparison = compare(entries, store.study, plan.ranked_by, plan.scorer, controls)
        store.write(comparison.to_dict())
    folder = None if store.folder is None else str(store.folder)
    return Benchmark(store.study, store.entries, comparison, store.computed, folder, store.commands)


def _rankable(entries: list[Entry], scoring: str) -> list[Entry]:
    """Return the entries that can be compared with those of this run; warn about the others."""
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
