"""How the heads of a plan are computed: by their fits, or on a cluster from sums over rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tlfeatures.benchmarking.plan import Plan
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.rows import in_memory
from tlfeatures.features.file.rows_in_shards import in_shards
from tlfeatures.heads.make_heads import check_heads, make_heads
from tlfeatures.heads.table import OneHead
from tlfeatures.model_selection.sums.fitted import is_sum
from tlfeatures.model_selection.sums.trainer import SumsTrainer, why_not_sums
from tlfeatures.model_selection.trainer import Trainer

if TYPE_CHECKING:
    from tlfeatures.features.cluster.client import Client, Cluster

logger = logging.getLogger(__name__)


def may_be_sums(
    cluster: str | Client | None,
    heads: Mapping[str, OneHead],
    params: Mapping[str, Any] | None,
    tune: bool,
) -> bool:
    """Whether heads can be computed from sums over rows, as far as is known without the rows.

    Parameters
    ----------
    cluster, params, tune
        See `tlfeatures.benchmark`.
    heads : mapping of name to str or scikit-learn classifier
        Result of `named_heads`.
    """
    if cluster is None or tune or check_heads(heads, params):
        return False
    return all(map(is_sum, make_heads(heads, params).values()))


def place_rows(
    datasets: Sequence[Dataset], plan: Plan, cluster: str | Client | None
) -> tuple[list[Dataset], Plan]:
    """Read the rows of datasets, or leave them in their shards, and return the plan for that.

    Rows in shards stay there if the heads can be computed on a cluster from sums over rows. The
    heads are then the exact ones for any number of rows. Otherwise the rows are read.

    Parameters
    ----------
    datasets : sequence of Dataset
    plan : Plan
    cluster
        See `tlfeatures.benchmark`.
    """
    if cluster is None or all(in_shards(data.X) is None for data in datasets):
        return list(map(in_memory, datasets)), plan
    exact = replace(plan, many_rows=False)
    reason = _why_not_sums(datasets, exact)
    if reason is not None:
        logger.info("all rows are read here and sent to each worker, because %s", reason)
        return list(map(in_memory, datasets)), plan
    logger.info(
        "%s: computed on the cluster as sums over rows; the workers read the shards of %s, and "
        "this process never holds all rows",
        ", ".join(exact.classifiers()),
        datasets[0].file,
    )
    return list(datasets), exact


def _why_not_sums(datasets: Sequence[Dataset], plan: Plan) -> str | None:
    """Say why the heads of a plan can't be computed from sums; None if they can."""
    heads = plan.classifiers()
    reasons = (
        why_not_sums(data, heads, folds, plan.random_state)
        for data in datasets
        for folds in plan.folds
    )
    return next(filter(None, reasons), None)


def open_trainer(
    data: Dataset,
    plan: Plan,
    *,
    n_jobs: int | None,
    progress: Callable[[float], None],
    cluster: Cluster | None,
) -> Trainer:
    """Create the trainer of a dataset that `place_rows` returned; see `Trainer`."""
    if cluster is not None and in_shards(data.X) is not None:
        return SumsTrainer(data, cluster, progress=progress, random_state=plan.random_state)
    return Trainer(
        data,
        n_jobs=n_jobs,
        progress=progress,
        cluster=cluster,
        meanwhile=lambda: plan.scorer.counts,  # they are drawn while the last folds run
    )
