"""Computing the entries of a benchmark: every head of a plan on one dataset, in every repeat.

The key of an entry is a hash of everything that its values depend on. An entry whose key is
already in the folder is not computed again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from sklearn.base import BaseEstimator

from tlfeatures.benchmarking.digests import digest_of_folds, fingerprint, versions
from tlfeatures.benchmarking.entries import entry_of
from tlfeatures.benchmarking.plan import Plan
from tlfeatures.benchmarking.store.store import ResultStore
from tlfeatures.errors import ParameterError
from tlfeatures.heads.identity import class_path, code_digest, settings_digest
from tlfeatures.heads.parameters import plain_params
from tlfeatures.heads.table import Grid
from tlfeatures.model_selection.duration import LONG_SECONDS
from tlfeatures.model_selection.head_folds import HeadFolds, run_folds
from tlfeatures.model_selection.trainer import Trainer
from tlfeatures.names import rounded_time

logger = logging.getLogger(__name__)

# Version of the code that fits, calibrates and scores heads. Increase it when that code gives other
# values, so that the entries of a folder are computed again.
FIT_VERSION = 7

_FEW_FOLDS = 3  # fewer folds would train on too few images


def compute_entries(trainer: Trainer, plan: Plan, store: ResultStore) -> None:
    """Compute the entries of a dataset that are missing in the store, and add them to it.

    Parameters
    ----------
    trainer : Trainer
        An open trainer of the dataset.
    plan : Plan
        Heads, folds and settings.
    store : ResultStore
        Receives the entries.

    Raises
    ------
    ParameterError
        If there is only one head, and it can't be fitted. With several heads, a head that can't be
        fitted is left out with a warning.
    """
    matrix = fingerprint(trainer.data)
    for repeat in range(len(plan.folds)):
        _compute_repeat(trainer, plan, store, matrix, repeat)


def _compute_repeat(
    trainer: Trainer, plan: Plan, store: ResultStore, matrix: str, repeat: int
) -> None:
    data, heads = trainer.data, plan.classifiers(repeat)
    grids = {name: plan.grid(name) for name in heads}
    base = [matrix, data.embedding, digest_of_folds(plan.folds[repeat], data.together), FIT_VERSION]
    keys = {
        name: entry_key(base, name, head, grids[name], plan.seed(repeat), plan.scoring)
        for name, head in heads.items()
    }
    missing = {name: head for name, head in heads.items() if not store.has(keys[name], data.file)}
    if not repeat:
        _warn_if_long(trainer, plan, missing, grids)
    for name, run in _runs(trainer, missing, grids, repeat, plan, alone=len(heads) == 1).items():
        facts = {
            "head": name,
            "classifier": class_path(heads[name]),
            "settings": settings_digest(heads[name], exact=False),
            "file": data.file,
            "embedding": data.embedding,
            "variants": data.n_variants,
            "columns": data.X.shape[1],
            "matrix": matrix,
            "repeat": repeat,
            "random_state": plan.seed(repeat),
            "fit_version": FIT_VERSION,
            "tuned": bool(grids[name]),
            "params": plain_params(heads[name]),
            "key": keys[name],
            "versions": versions(),
        }
        store.add(entry_of(run, facts, plan.scorer))


def _warn_if_long(
    trainer: Trainer, plan: Plan, heads: Mapping[str, BaseEstimator], grids: Mapping[str, Grid]
) -> None:
    """Warn if all repeats of an embedding take over ten minutes, and say what is faster."""
    duration = trainer.estimate(plan.folds[0], heads, grids, plan.random_state)
    if duration is None or duration.seconds * len(plan.folds) < LONG_SECONDS:
        return
    slowest = [
        f"{name} {100 * seconds / duration.seconds:.0f} %"
        for name, seconds in list(duration.of_head.items())[:3]
        if seconds > duration.seconds / 10
    ]
    logger.warning(
        "fitting %s takes about %s (%s). It takes less time with %s",
        trainer.data.embedding,
        rounded_time(duration.seconds * len(plan.folds)),
        ", ".join(slowest),
        ", ".join(_ways_to_save_time(plan, heads)),
    )


def _ways_to_save_time(plan: Plan, heads: Mapping[str, BaseEstimator]) -> list[str]:
    ways = {
        "without --tune": plan.tune,
        "fewer --repeats": len(plan.folds) > 1,
        "fewer heads (--heads)": len(heads) > 1,
        f"fewer folds than {len(plan.folds[0])} (--cv)": plan.split == "cv"
        and len(plan.folds[0]) > _FEW_FOLDS,
    }
    return [way for way, helps in ways.items() if helps] + ["more cores (--n-jobs, --cluster)"]


def _runs(
    trainer: Trainer,
    heads: Mapping[str, BaseEstimator],
    grids: Mapping[str, Grid],
    repeat: int,
    plan: Plan,
    alone: bool,
) -> dict[str, HeadFolds]:
    """Fit and test heads on the folds of a repeat.

    All heads are fitted together. If one of them can't be fitted, the heads are fitted again one
    by one. A head that can't be fitted is then left out with a warning. If the benchmark has only
    this head (`alone`), an error is raised instead.
    """

    def run(some: Mapping[str, BaseEstimator]) -> dict[str, HeadFolds]:
        return run_folds(
            trainer,
            some,
            plan.folds[repeat],
            grids=grids if plan.tune else None,
            scoring=plan.scoring,
            random_state=plan.seed(repeat),
        )

    if not heads:
        return {}
    try:
        return run(heads)
    except ParameterError:
        if alone:
            raise
    done: dict[str, HeadFolds] = {}
    for name, head in heads.items():
        try:
            done |= run({name: head})
        except ParameterError as error:
            logger.warning("the head %s is left out: %s", name, error)
    return done


def entry_key(
    base: list[Any],
    name: str,
    head: BaseEstimator,
    grid: Grid,
    seed: int | None,
    scoring: list[str],
) -> str:
    """Return the key of an entry: a hash of everything that its values depend on.

    Parameters
    ----------
    base : list
        The parts of the key that all heads of a repeat share: the hash of the embedding's values,
        its name, the hash of the folds, and `FIT_VERSION`.
    name : str
        Name of the head.
    head : scikit-learn classifier
        The head before it is fitted.
    grid : mapping of parameter to values
        Values that tuning tries; empty without tuning.
    seed : int or None
    scoring : list of str
        Names of the scores.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    own = [name, settings_digest(head, exact=True), code_digest(head), repr(grid)]
    parts = [base, own, seed, scoring, versions()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
