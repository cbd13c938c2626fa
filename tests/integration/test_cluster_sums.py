"""Heads that are sums over rows: real workers read the shards, and some are killed."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.integration.dask_processes import DaskProcesses
from tests.unit.sharded_files import sharded_file
from tlfeatures import benchmark, load_dataset
from tlfeatures.cli import main
from tlfeatures.errors import StoreError
from tlfeatures.features.cluster.connect import connect
from tlfeatures.features.file.reader import ShardedReader
from tlfeatures.features.file.sharded import shards_folder
from tlfeatures.heads.make_heads import make_heads
from tlfeatures.model_selection.fold_work import Task
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.model_selection.sums.trainer import SumsTrainer

pytestmark = pytest.mark.slow

HEADS = "ridge,lda,centroid,logreg"


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    with DaskProcesses(tmp_path_factory.mktemp("dask")) as processes:
        for _ in range(2):
            processes.start_worker("--no-nanny")
        yield processes


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    return sharded_file(folder / "x.h5", n=6000, d=16, shards=12, classes="abcdefghij")


def test_workers_give_the_labels_of_one_machine(dask, file, tmp_path, monkeypatch):
    here = benchmark(file, HEADS, near_duplicates=None, n_jobs=1, groups="([0-9]+)[0-9]{2}")
    read: list[int] = []
    copy_rows = ShardedReader.copy_rows

    def watched(self: ShardedReader, path: str, rows: Any) -> Any:
        read.extend([len(rows)] if path.startswith("embeddings/") else [])
        return copy_rows(self, path, rows)

    monkeypatch.setattr(ShardedReader, "copy_rows", watched)
    out = tmp_path / "out"
    given = ["--heads", HEADS, "--near-duplicates", "off", "--groups", "([0-9]+)[0-9]{2}"]
    run = CliRunner().invoke(
        main, ["benchmark", str(file), *given, "--cluster", dask.address, "-o", str(out)]
    )
    assert run.exit_code == 0, run.output
    assert "computed on the cluster as sums over rows" in run.stderr
    assert max(read, default=0) <= 5000  # the sample of the controls
    monkeypatch.undo()
    there = benchmark(
        file,
        HEADS,
        near_duplicates=None,
        groups="([0-9]+)[0-9]{2}",
        cluster=dask.address,
        out=out,
    )
    assert there.computed == 0  # all of them are in the folder
    for one, other in zip(here.entries, there.entries, strict=True):
        differ = np.mean(one.predicted != other.predicted)
        # Two classes may be as probable within the tolerance of logistic regression.
        assert differ <= (0.001 if one.facts["head"] == "logreg" else 0)
        assert np.abs(one.probabilities - other.probabilities).max() < 0.05


def test_what_a_killed_worker_was_at_is_done_by_another(dask, file):
    data = load_dataset(file, near_duplicates=None, on_disk=True)
    heads = make_heads("logreg,lda")
    tasks = [Task(train, test, heads) for train, test in make_folds(data)[1]]
    results = []
    for kill in (False, True):
        third = dask.start_worker("--no-nanny")
        with connect(dask.address) as cluster, SumsTrainer(data, cluster) as trainer:
            killer = threading.Timer(0.3, dask.kill, [third])
            if kill:
                killer.start()
            results.append(trainer.run(tasks, []))
            if kill:
                killer.join()
            else:
                dask.kill(third)
    for one, other in zip(*results, strict=True):
        for name in heads:
            np.testing.assert_array_equal(one[name].probabilities, other[name].probabilities)


def test_a_shard_that_workers_do_not_see_is_one_line(dask, tmp_path):
    file = sharded_file(tmp_path / "x.h5", n=100, d=5)
    data = load_dataset(file, near_duplicates=None, on_disk=True)
    assert len(data) == 100
    shards_folder(file).rename(tmp_path / "elsewhere")
    with (
        connect(dask.address) as cluster,
        SumsTrainer(data, cluster) as trainer,
        pytest.raises(StoreError, match="all machines must see the shards under this path"),
    ):
        trainer.fit_on_all("lda", make_heads("lda")["lda"])
