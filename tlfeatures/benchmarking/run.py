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
import numbers
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tlfeatures.benchmarking.comparison import Comparison
from tlfeatures.benchmarking.rank import compare
from tlfeatures.benchmarking.store import (
    PREDICTIONS,
    RESULTS,
    Entry,
    Results,
    Study,
    check_items,
    check_kinds,
    digest_of,
    entry_facts,
    entry_of,
    fingerprint,
    sources_of,
    versions,
)
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import NEAR_DUPLICATE
from tlfeatures.dataset.load import load_dataset
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.errors import DatasetError, FormatError, ParameterError
from tlfeatures.features.cluster.connect import TLS, connect_if
from tlfeatures.features.combined import parts_of
from tlfeatures.features.file.format import Header
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.sources.spelling import normalize_name
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
from tlfeatures.names import as_list, unknown_name

if TYPE_CHECKING:
    from tlfeatures.features.cluster.client import Client

logger = logging.getLogger(__name__)

Name = TypeVar("Name")

# How heads are fitted, calibrated and scored. Raise it where that changes, so that the entries of a
# folder are computed again.
FIT_VERSION = 3


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
        The ranking, and which heads are significantly different from the best.
    computed : int
        Entries that this run computed; the others were there.
    out : str or None
        The folder.
    commands : list of str
        Command lines that made the entries.
    """

    study: Study
    entries: list[Entry]
    comparison: Comparison
    computed: int
    out: str | None
    commands: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-ready plain data: what `results.json` holds."""
        return {
            **self.study.to_dict(),
            "commands": self.commands,
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
    near_duplicates: float | None = NEAR_DUPLICATE,
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
        Names, also of several side by side (`A+B`), or "all" that the files have.
    labels, groups, label_level, label_columns, near_duplicates, variants
        See `load_dataset`.
    cv, split
        See `cross_validate_heads`.
    repeats : int
        Cross-validations, each with other folds and seeds; more of them find smaller differences.
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
    cluster : str or distributed.Client, optional
        Whose workers do the folds, in place of `n_jobs`: the address of a scheduler of Dask,
        "local" for one that is started on this machine, or a client. The numbers don't depend on
        it.
    tls : TLS, optional
        Certificates, see `tlfeatures.features.cluster.connect.TLS`.
    command : str, optional
        The command line that asks for it; kept with the results, to be read by people.
    progress : callable of (done, total), optional
        Told the folds that are done.

    Returns
    -------
    Benchmark

    Raises
    ------
    ClusterError
        If the scheduler can't be reached, or is gone, or its workers can't do the folds; the same
        call goes on where it stopped, if `out` is given.
    DatasetError
        If the files have no images in common, or label them differently.
    ParameterError
        For an unknown head, embedding, score or split, or if `out` holds another study.
    """
    names, scoring = head_names(heads), as_list(scoring)
    if not names:
        raise ParameterError("there is no head to compare; take some, or all")
    make_heads(names, params)  # a wrong name is said before any file is read
    how: dict[str, Any] = {
        "labels": labels,
        "groups": groups,
        "near_duplicates": near_duplicates,
        "label_level": label_level,
        "label_columns": label_columns,
    }
    datasets = _load(files, embeddings, {**how, "variants": variants})
    first = next(iter(datasets.values()))
    check_scoring(scoring, first.classes)
    chosen, folds = _folds(first, cv, split, repeats, random_state)
    plan = _Plan(params or {}, names, tune, scoring, chosen, folds, random_state)
    sources = sources_of([file for file, _ in datasets], **how)
    results = Results.open(out, Study.of(first, chosen, folds[0], random_state, sources))
    if command is not None and command not in results.commands:
        results.commands.append(command)
    count = ProgressCounter(
        len(datasets) * repeats * len(folds[0]) * (1 + INNER_CV * tune), progress
    )
    with connect_if(cluster, tls) as connected:
        for data in datasets.values():
            matrix = fingerprint(data)
            with Trainer(data, n_jobs=n_jobs, progress=count.add, cluster=connected) as trainer:
                for repeat in range(repeats):
                    if _compute(trainer, matrix, repeat, plan, results):
                        results.save()
    count.finish()
    if not results.entries:
        raise ParameterError("none of these heads could be fitted; the reasons are said above")
    with results.updating():  # so that what other runs have computed meanwhile is ranked, too
        comparison = compare(
            results.entries, results.study, scoring[0] if scoring else "accuracy", random_state
        )
        results.write(comparison.to_dict())
    return Benchmark(
        results.study, results.entries, comparison, results.computed, _text(out), results.commands
    )


def load_benchmark(folder: str | os.PathLike[str]) -> Benchmark:
    """Read the folder of a benchmark; the embeddings file is not needed.

    Returns
    -------
    Benchmark
        Its study has the images that were tested.

    Raises
    ------
    ParameterError
        If there is no benchmark in the folder.
    FormatError
        If it is damaged, or of another version.
    """
    path = Path(folder)
    if not (path / RESULTS).is_file():
        found = "is a file" if path.is_file() else "holds no benchmark"
        raise ParameterError(
            f"{folder} {found}; expected the folder that `tlfeatures benchmark FILE.h5 -o DIR` made"
        )
    results, stored = Results.read(path)
    _check_ranking(path / RESULTS, stored)
    ranking = [{name: rank[name] for name in _RANK} for rank in stored["ranking"]]
    comparison = Comparison.from_dict({**stored, "ranking": ranking})
    held = {entry.facts["key"] for entry in results.entries}
    if not all(held.issuperset(rank.keys) for rank in comparison.ranking):
        raise FormatError(
            f"{path / PREDICTIONS} lacks rows of what {RESULTS} ranks; run the `tlfeatures "
            f"benchmark ... -o {folder}` again, which computes what is missing"
        )
    return Benchmark(results.study, results.entries, comparison, 0, str(folder), results.commands)


_RANKING: dict[str, Any] = {
    **{"ranking": list, "scoring": str, "verdict": list},
    "detectable": float | int | None,
}
_RANK: dict[str, Any] = {
    **dict.fromkeys(("head", "embedding", "label", "standing"), str),
    "reason": str | None,
    **dict.fromkeys(("params", "scores"), dict),
    **dict.fromkeys(("difference", "p"), float | int | None),
    **{"fit_seconds": float | int, "repeats": int, "keys": list},
    **dict.fromkeys(("best", "tuned"), bool),
}
_SCORE: dict[str, Any] = {"score": float | int | None, "interval": list | None}
_INTERVAL: dict[str, Any] = {"low": float | int, "high": float | int}


def _check_ranking(path: Path, stored: Mapping[str, Any]) -> None:
    check_kinds(path, stored, _RANKING)
    check_items(path, "verdict", stored["verdict"], str)
    for rank in stored["ranking"]:
        check_kinds(path, rank, _RANK)
        check_items(path, "keys", rank["keys"], str)
        check_kinds(path, rank["scores"], {stored["scoring"]: dict})
        for score in rank["scores"].values():
            check_kinds(path, score, _SCORE)
            if score["interval"] is not None:
                check_kinds(path, dict(zip(_INTERVAL, score["interval"], strict=False)), _INTERVAL)
    if not stored["ranking"]:
        raise FormatError(f"{path} ranks nothing; run the benchmark again into another folder")


def _folds(
    data: Dataset, cv: Any, split: str, repeats: int, seed: int
) -> tuple[str, list[list[Fold]]]:
    """The folds of each repeat."""
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


def _compute(trainer: Trainer, matrix: str, repeat: int, plan: _Plan, results: Results) -> bool:
    """Compute the heads that are not there yet; tell whether there were any."""
    seed = plan.seed + repeat
    heads = make_heads(plan.names, plan.params, random_state=seed)
    grids = {each: dict(head_grid(each, plan.params)) if plan.tune else {} for each in heads}
    base = matrix + digest_of(plan.folds[repeat], trainer.data.together)
    base += f"+{FIT_VERSION}"
    file, rows = trainer.data.file, len(trainer.data.y) * (1 + trainer.data.n_variants)
    keys = {
        each: [
            entry_key(base, each, params, grids[each], seed, plan.scoring)
            for params in (head.get_params(), without_new_params(each, head, rows))
        ]
        for each, head in heads.items()
    }
    missing = {each: head for each, head in heads.items() if not results.has(keys[each], file)}
    evaluations = _evaluations(trainer, missing, grids, repeat, plan)
    for each, evaluation in evaluations.items():
        facts = entry_facts(
            trainer.data,
            matrix,
            head=each,
            repeat=repeat,
            tuned=bool(grids[each]),
            params=with_new_params(each, plain_params(heads[each]), rows),
            key=keys[each][0],
        )
        results.add(entry_of(evaluation, facts))
    return bool(evaluations)


def _evaluations(
    trainer: Trainer, heads: Mapping[str, Any], grids: Mapping[str, Any], repeat: int, plan: _Plan
) -> dict[str, Evaluation]:
    """Cross-validate; where a head can't be fitted, the others are, and it is said why."""

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
    """What an entry was computed from."""
    said = sorted((key, repr(value)) for key, value in params.items())
    parts = [base, name, said, repr(grid), seed, scoring, versions()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _text(out: str | os.PathLike[str] | None) -> str | None:
    return None if out is None else str(out)


# ---- the same images of every file


def _load(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    embeddings: str | Sequence[str],
    how: Mapping[str, Any],
) -> dict[tuple[str, str], Dataset]:
    """Each wanted embedding of each file, cut to the images that all have, copies put together."""
    paths = list(dict.fromkeys(str(path) for path in _listed(files)))
    held = {path: list(read_header(path).embeddings) for path in paths}
    wanted = as_list(embeddings)
    for name in wanted:
        parts = parts_of(name)
        if name != "all" and not any(set(parts) <= set(names) for names in held.values()):
            every = list(dict.fromkeys(name for names in held.values() for name in names))
            missing = next((part for part in parts if part not in every), name)
            raise unknown_name(f"embedding of {', '.join(paths)}", missing, [*every, "all"])
    beside = [name for name in dict.fromkeys(wanted) if len(parts_of(name)) > 1]
    loaded = {}
    for path, names in held.items():
        chosen = [name for name in names if name in wanted or "all" in wanted]
        once = how  # the copies of a file are those of all of its embeddings
        for name in [*chosen, *(each for each in beside if set(parts_of(each)) <= set(names))]:
            loaded[path, name] = load_dataset(path, name, **once)
            once = {**how, "near_duplicates": None}
    return _aligned(loaded)


def _listed(files: Any) -> list[str | os.PathLike[str]]:
    return [files] if isinstance(files, str | os.PathLike) else list(files)


def _aligned(
    datasets: dict[tuple[str, str], Dataset],
) -> dict[tuple[str, str], Dataset]:
    forms = _forms({name: data.ids.tolist() for name, data in datasets.items()})
    common = sorted(set.intersection(*map(set, forms.values())))
    if not common:
        files = ", ".join(dict.fromkeys(path for path, _ in datasets))
        raise DatasetError(f"{files} have no image in common")
    most = max(len(data.ids) for data in datasets.values())
    if len(common) < most:
        logger.warning(
            "%d of %d images are in every file; the others are left out", len(common), most
        )
    cut = {name: _rows(data, forms[name], common) for name, data in datasets.items()}
    first = next(iter(cut.values()))
    for name, data in cut.items():
        if (data.y != first.y).any():
            row = int(np.flatnonzero(data.y != first.y)[0])
            raise DatasetError(
                f"{data.ids[row]} is {first.y[row]} in one file and {data.y[row]} in {name[0]}: "
                "give --labels CSV"
            )
    copies = np.unique(np.concatenate([data.copies for data in cut.values()]), axis=0)
    unreadable = {
        normalize_name(each.id): each for data in cut.values() for each in data.unreadable
    }
    failed = tuple(unreadable[form] for form in sorted(unreadable))
    return {
        name: replace(data, ids=first.ids, copies=copies, unreadable=failed)
        for name, data in cut.items()
    }


def as_aligned(data: Dataset, file: str, others: Mapping[str, Header], first: str) -> Dataset:
    """Cut a dataset of one file to the images that all files of a benchmark have.

    Parameters
    ----------
    data : Dataset
        Of `file`.
    others : mapping of file to Header
        Of the other files.
    first : str
        The file whose ids name the images.
    """
    ids = {
        other: [id_ for id_, done in zip(header.ids, header.done, strict=True) if done]
        for other, header in others.items()
    }
    ids[file] = data.ids.tolist()
    forms = _forms(ids)
    names = dict(zip(forms[first], ids[first], strict=True))
    common = sorted(set.intersection(*map(set, forms.values())))
    cut = _rows(data, forms[file], common)
    return replace(cut, ids=np.array([names[form] for form in common]))


def _forms(ids: Mapping[Name, list[str]]) -> dict[Name, list[str]]:
    """Give the form of each id by which images of several files are compared.

    Systems write one name in several Unicode forms. Where these can't tell the images of a file
    apart, the ids themselves are compared.
    """
    forms = {name: [normalize_name(id_) for id_ in each] for name, each in ids.items()}
    if any(len(set(each)) < len(each) for each in forms.values()):
        return dict(ids)
    return forms


def _rows(data: Dataset, forms: list[str], wanted: list[str]) -> Dataset:
    """The rows of the ids that have these forms, in their order."""
    place = {form: row for row, form in enumerate(forms)}
    return data.take(np.array([place[form] for form in wanted]))
