"""`extract --cluster` by workers in this process: every story ends as on one machine.

What real processes show when they are killed is in tests/integration/test_cluster_extract.py.
"""

import io
import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.fakes import (
    age,
    assert_same,
    assert_tidy,
    record_batches,
    rows_of,
    shards_of,
    use_backbone,
    write_image,
)
from tlfeatures import Model, extract, merge, verify
from tlfeatures.cli import main
from tlfeatures.errors import StoppedError, StoreError
from tlfeatures.features.backbones.pixels import PixelBackbone
from tlfeatures.features.backbones.quantization import Quantization, largest_inputs
from tlfeatures.features.backbones.vgg16 import VGG16
from tlfeatures.features.cluster.carry_out import ranges_of_shards
from tlfeatures.features.cluster.worker import check_shard, create_shard, identify_images
from tlfeatures.features.file.create import Contents, create
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.images.identify import UNKNOWN, Manifest
from tlfeatures.features.plan import Plan
from tlfeatures.features.sources.locations import Folder
from tlfeatures.features.sources.records import ImageRecord
from tlfeatures.features.spec import Spec

pytestmark = pytest.mark.slow

IMAGES = 24
SETTINGS = {"backbone": "pixels", "size": 16, "layers": ["grid4"], "pools": ["flatten"]}
SETTINGS |= {"batch_size": 8}  # three shards
# More shards than are sent at once, so that some are left when a run is stopped.
MANY_SHARDS = SETTINGS | {"batch_size": 1}


def duplicates(folder):
    for number in range(6):
        copy = shutil.copy(folder / "a" / f"{number:02d}.png", folder / "b" / f"copy{number}.png")
        age(Path(copy))


def unreadable(folder):
    (folder / "a" / "text.png").write_text("text")
    (folder / "a" / "00.png").write_bytes((folder / "a" / "00.png").read_bytes()[:60])
    age(folder / "a" / "text.png")
    age(folder / "a" / "00.png")


def more(folder):
    for number in range(90, 97):
        write_image(folder / "ab"[number % 2] / f"{number}.png", number)


def renamed(folder):
    for number in (3, 4, 5):
        (folder / "a" / f"{number:02d}.png").rename(folder / "b" / f"z{number}.png")


def changed_and_fewer(folder):
    write_image(folder / "a" / "01.png", 99)
    (folder / "b" / "02.png").unlink()


def strange_names(folder):
    for number, name in enumerate(["ä ö", "日本 %b 50%", "a;b 'c'", "x#y?z"]):
        write_image(folder / name / f"{name}.png", 50 + number)


def mended(folder):
    write_image(folder / "a" / "00.png", 1)


def nothing(folder):
    pass


# What is done to the folder before the first run and before the second, and what each is told.
STORIES = {
    "duplicates": (duplicates, {}, nothing, {}),
    "unreadable images": (unreadable, {}, more, {}),
    "an unreadable image that is mended": (unreadable, {}, mended, {}),
    "images added": (nothing, {}, more, {}),
    "images renamed": (nothing, {}, renamed, {}),
    "images changed and gone": (nothing, {}, changed_and_fewer, {}),
    "a layer added": (nothing, {}, nothing, {"layers": ["mean"], "pools": ["avg"]}),
    "a layer and images added": (nothing, {}, more, {"layers": ["grid8"], "pools": ["max"]}),
    "variants": (duplicates, {"augment": 2}, more, {}),
    "variants added": (nothing, {}, more, {"augment": 2}),
    "another batch size": (nothing, {"batch_size": 1}, more, {"batch_size": 7}),
    "float16": (nothing, {"dtype": "float16"}, more, {}),
    "strange names": (strange_names, {}, more, {}),
}  # fmt: skip


@pytest.fixture
def few(tmp_path):
    folder = tmp_path / "phötos 50%b"
    for number in range(IMAGES // 2):
        for label in "ab":
            write_image(folder / label / f"{number:02d}.png", 2 * number + "ab".index(label))
    return folder


@pytest.mark.parametrize("story", STORIES)
def test_a_story_ends_as_on_one_machine(story, few, tmp_path, client, monkeypatch):
    before, first, meantime, second = STORIES[story]
    here, there = tmp_path / "here 50%b.h5", tmp_path / "thére 50%b.h5"
    before(few)
    batches = record_batches(monkeypatch)
    for change, settings in ((nothing, {**SETTINGS, **first}), (meantime, second)):
        change(few)
        expected = extract(few, here, **settings).to_dict()
        found = extract(few, there, cluster=client, **settings).to_dict()
        for name in ("images", "reused", "computed", "failed", "removed", "embeddings", "variants"):
            assert found[name] == expected[name], name
        assert read_header(there).shards is not None
        assert read_header(there).dtype == read_header(here).dtype
        assert_same(there, rows_of(here))
        assert_tidy(there)
    content = there.read_bytes()
    batches.clear()
    assert extract(few, there, cluster=client).computed == 0
    assert extract(few, there, cluster=client, trust_mtime=True).computed == 0
    assert not batches
    assert there.read_bytes() == content
    assert_tidy(there)
    assert extract(few, there).computed == 0  # on this machine, too, there is nothing to do
    assert there.read_bytes() == content


def test_a_sharded_file_stays_one_without_a_cluster(few, tmp_path, client):
    here, there = tmp_path / "here.h5", tmp_path / "there.h5"
    extract(few, there, cluster=client, **SETTINGS)
    more(few)
    assert extract(few, there).computed == 7
    extract(few, here, **SETTINGS)
    assert_same(there, rows_of(here))
    assert_tidy(there)


def test_an_ordinary_file_stays_one(few, tmp_path, client):
    here, there = tmp_path / "here.h5", tmp_path / "there.h5"
    extract(few, there, **SETTINGS)
    more(few)
    assert extract(few, there, cluster=client).computed == 7
    extract(few, here, **SETTINGS)
    assert read_header(there).shards is None
    assert_same(there, rows_of(here))
    assert not shards_of(there)


@pytest.fixture
def memory(few):
    """A URL whose images are those of the folder, without one of their names."""
    import fsspec

    system = fsspec.filesystem("memory")
    for path in few.rglob("*.png"):
        system.pipe_file(f"/photos/{path.relative_to(few)}", path.read_bytes())
    yield "memory://photos"
    for folder in ("/photos", "/shards"):
        if system.exists(folder):
            system.rm(folder, recursive=True)


@pytest.mark.parametrize("where", ["file", "memory", "folder"])
def test_shards_elsewhere_are_put_into_the_file_and_removed(
    where, few, memory, tmp_path, client, monkeypatch
):
    (tmp_path / "shards").mkdir()
    other = tmp_path / "shards" / f"{'0' * 64}.h5"  # of another run
    other.write_text("x")
    shards = {
        "file": f"file://{tmp_path}/shards",
        "memory": "memory://shards",
        "folder": tmp_path / "shards",
    }[where]
    source = memory if where == "memory" else few
    here, there = tmp_path / "here.h5", tmp_path / "there.h5"
    extract(few, here, **SETTINGS)
    batches = record_batches(monkeypatch)
    found = extract(source, there, cluster=client, shards=shards, **SETTINGS)
    assert (found.computed, sum(map(len, batches))) == (IMAGES, IMAGES)
    assert read_header(there).shards is None
    assert_same(there, rows_of(here))
    assert list((tmp_path / "shards").iterdir()) == [other]
    content = there.read_bytes()
    assert extract(source, there, cluster=client, shards=shards).computed == 0
    assert there.read_bytes() == content
    assert not shards_of(there)


def test_a_run_that_is_stopped_goes_on_from_shards_at_a_url(few, memory, tmp_path, client):
    here, there = tmp_path / "here.h5", tmp_path / "there.h5"
    extract(few, here, **MANY_SHARDS)
    done = []
    options = {"cluster": client, "shards": "memory://shards"}
    with pytest.raises(StoppedError, match=f"of {IMAGES} images are safe in memory://shards"):
        extract(
            memory, there, stop=lambda: bool(done), progress=lambda *_: done.append(1),
            **options, **MANY_SHARDS,
        )  # fmt: skip
    assert not there.exists()
    result = extract(memory, there, **options, **MANY_SHARDS)
    assert 0 < result.reused < IMAGES
    assert result.computed == IMAGES - result.reused
    assert_same(there, rows_of(here))


def test_shards_that_a_run_with_other_settings_left_are_not_used(few, tmp_path, client):
    """They have the same images, in the same folder, but other values."""
    here, there = tmp_path / "here.h5", tmp_path / "there.h5"
    other = MANY_SHARDS | {"size": 24}
    with pytest.raises(StoppedError):
        extract(few, there, cluster=client, stop=lambda: bool(shards_of(there)), **other)
    assert shards_of(there)
    extract(few, here, **MANY_SHARDS)
    assert extract(few, there, cluster=client, **MANY_SHARDS).computed == IMAGES
    assert_same(there, rows_of(here))


def test_workers_decode_by_the_same_range_and_name_images_without_levels(tmp_path, client, caplog):
    folder, here, there = tmp_path / "cells", tmp_path / "here.h5", tmp_path / "there.h5"
    for number in range(12):
        (folder / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).integers(0, 4000, (16, 16)).astype(np.uint16)
        Image.fromarray(values).save(folder / "ab"[number % 2] / f"{number}.tif")
    dark = extract(folder, there, cluster=client, **SETTINGS)
    assert dark.few_levels == extract(folder, here, **SETTINGS).few_levels
    assert len(dark.few_levels) == 12
    assert caplog.text.count("12 images are nearly black") == 2
    for number, options in enumerate(({}, {"cluster": client})):
        file = tmp_path / f"{number}.h5"
        result = extract(folder, file, value_range="0,4095", **options, **SETTINGS)
        assert result.few_levels == []
    assert_same(tmp_path / "1.h5", rows_of(tmp_path / "0.h5"))
    assert verify(tmp_path / "1.h5", folder).ok


def test_a_file_url_is_a_path(few, tmp_path, client):
    extract(f"file://{few}", tmp_path / "x.h5", cluster=client, **SETTINGS)
    extract(few, tmp_path / "here.h5", **SETTINGS)
    assert_same(tmp_path / "x.h5", rows_of(tmp_path / "here.h5"))


def test_the_shards_of_another_file_are_left_alone(few, tmp_path, client):
    extract(few, tmp_path / "x.h5", cluster=client, **SETTINGS)
    there, expected = shards_of(tmp_path / "x.h5"), rows_of(tmp_path / "x.h5")
    extract(few, tmp_path / "y.h5", cluster=client, shards=tmp_path / "x.h5.shards", **SETTINGS)
    assert shards_of(tmp_path / "x.h5") == there
    assert_same(tmp_path / "x.h5", expected)
    assert_same(tmp_path / "y.h5", expected)
    more(few)  # its own, by another way to it, are what they are without being named
    (tmp_path / "link").symlink_to(tmp_path)
    shards = tmp_path / "link" / "x.h5.shards"
    assert extract(few, tmp_path / "x.h5", cluster=client, shards=shards).computed == 7
    assert read_header(tmp_path / "x.h5").shards is not None


@pytest.mark.parametrize("then", ["extract", "extract --cluster", "merge"])
def test_a_copy_under_another_name_leaves_the_shards_to_the_first(then, few, tmp_path, client):
    first, copy = tmp_path / "x.h5", tmp_path / "copy.h5"
    extract(few, first, cluster=client, **SETTINGS)
    expected, shards = rows_of(first), shards_of(first)
    shutil.copy(first, copy)
    if then == "merge":
        merge(copy)
        assert_same(copy, expected)
    else:
        changed_and_fewer(few)
        extract(few, copy, cluster=client if then != "extract" else None)
        extract(few, tmp_path / "here.h5", **SETTINGS)
        assert_same(copy, rows_of(tmp_path / "here.h5"))
    assert read_header(copy).shards is None
    assert shards_of(first) == shards
    assert_same(first, expected)


def test_what_runs_that_were_cut_off_left_goes_with_the_next(few, tmp_path, client):
    file = tmp_path / "x.h5"
    extract(few, file, cluster=client, **SETTINGS)
    shards = shards_of(file)
    folder = tmp_path / "x.h5.shards"
    shutil.copy(folder / shards[0], folder / f"{'a' * 64}.h5")
    (folder / f".{'b' * 64}.h5.host-0.tmp").write_text("half a shard")
    (folder / "notes.txt").write_text("a user's own")
    assert extract(few, file, cluster=client).computed == 0
    assert shards_of(file) == sorted([*shards, "notes.txt"])


class Names(pickle.Unpickler):
    """Collects the modules of what is unpickled by its name, as functions and classes are."""

    def __init__(self, data):
        super().__init__(io.BytesIO(data))
        self.modules = set()

    def find_class(self, module, name):
        self.modules.add(module)
        return super().find_class(module, name)


def test_what_workers_are_sent_is_data_and_names_of_this_package(few, tmp_path, client):
    """No code travels: each function and each class is named, and a worker has its own of it."""
    functions, modules = set(), set()

    class Recording:
        def __getattr__(self, name):
            return getattr(client, name)

        def submit(self, function, given, **options):
            assert pickle.loads(pickle.dumps(function)) is function  # by its name
            assert function.__module__.startswith("tlfeatures.")
            assert type(given) is bytes
            named = Names(given)
            called, _ = named.load()
            functions.add(called)
            modules.update(named.modules)
            return client.submit(function, given, **options)

    for _ in range(2):  # the second finds the shards of the first
        extract(few, tmp_path / "x.h5", cluster=Recording(), augment=1, **SETTINGS)
        (tmp_path / "x.h5").unlink()
    assert functions == {identify_images, create_shard, check_shard}
    assert {name for name in modules if not name.startswith("tlfeatures.")} <= {"pathlib"}


# ---- what a sharded file is for others


@pytest.fixture(scope="module")
def made(_photos, tmp_path_factory, client):
    folder = tmp_path_factory.mktemp("both")
    (folder / "here").mkdir()
    (folder / "there").mkdir()
    extract(_photos, folder / "here" / "x.h5", augment=2, **SETTINGS)
    extract(_photos, folder / "there" / "x.h5", cluster=client, augment=2, **SETTINGS)
    return folder


@pytest.fixture
def both(made, tmp_path):
    """The same rows in an ordinary file and in a sharded one."""
    copy = shutil.copytree(made, tmp_path / "both")
    return copy / "here" / "x.h5", copy / "there" / "x.h5"


def printed(*arguments):
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def without_times(found, folder):
    """What must be the same, of JSON that also tells seconds, paths and versions."""
    if isinstance(found, dict):
        return {
            key: without_times(value, folder)
            for key, value in found.items()
            if "seconds" not in key and key not in ("provenance", "shards", "versions", "commands")
        }
    if isinstance(found, list):
        return [without_times(each, folder) for each in found]
    return found.replace(str(folder), "") if isinstance(found, str) else found


COMMANDS = {
    "fit": ["--head", "logreg", "--head", "knn", "--json"],
    "fit on variants": ["--head", "logreg", "--variants", "2", "--json"],
    "info": ["--json"],
    "verify": ["--json"],
    "audit": ["--head", "logreg", "--json"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_of_a_sharded_file_what_it_says_of_an_ordinary_one(command, both):
    here, there = (
        without_times(printed(command.split()[0], file, *COMMANDS[command]), file.parent)
        for file in both
    )
    assert there == here


def test_a_model_of_a_sharded_file_predicts_the_same(both, photos):
    found = []
    for file in both:
        model = file.with_name("x.model")
        printed("fit", file, "--head", "logreg", "-o", model, "--json")
        found.append([each.probabilities for each in Model.load(model).predict([photos])])
    assert found[0] == found[1]


def test_merge_makes_the_file_that_one_machine_makes(both, tmp_path):
    here, there = both
    merged = printed("merge", there, "-o", tmp_path / "merged.h5", "--json")
    assert (merged["images"], merged["done"]) == (24, 24)
    assert merged["shards"] == len(shards_of(there)) > 0
    with h5py.File(here) as one, h5py.File(tmp_path / "merged.h5") as other:
        one.visititems(lambda name, item: same_dataset(item, other[name]))
        assert {name: one.attrs[name] for name in one.attrs if name != "provenance"} == {
            name: other.attrs[name] for name in other.attrs if name != "provenance"
        }
    expected = rows_of(here)
    printed("merge", there, "--json")
    assert_same(there, expected)
    assert not there.with_name("x.h5.shards").exists()
    content = there.read_bytes()
    assert printed("merge", there, "--json")["shards"] == 0
    assert there.read_bytes() == content


def same_dataset(item, other):
    if isinstance(item, h5py.Dataset):
        assert (item.dtype, item.shape, item.is_virtual) == (other.dtype, other.shape, False)
        np.testing.assert_array_equal(item[()], other[()])


# ---- shards that something else may refer to


def test_a_file_and_its_shards_are_renamed_together(few, tmp_path, client, monkeypatch):
    old, new = tmp_path / "old.h5", tmp_path / "new.h5"
    extract(few, old, cluster=client, **SETTINGS)
    expected = rows_of(old)
    old.rename(new)
    (tmp_path / "old.h5.shards").rename(tmp_path / "new.h5.shards")
    assert_same(new, expected)
    batches = record_batches(monkeypatch)
    assert extract(few, new, cluster=client).computed == 0
    assert not batches
    more(few)
    assert extract(few, new, cluster=client).computed == 7
    assert_tidy(new)


def test_a_renamed_file_keeps_its_shards_when_its_old_name_is_used_again(few, tmp_path, client):
    name, renamed_file = tmp_path / "x.h5", tmp_path / "old.h5"
    extract(few, name, cluster=client, **SETTINGS)
    expected = rows_of(name)
    name.rename(renamed_file)
    others = tmp_path / "others"
    for number in range(9):
        write_image(others / "a" / f"{number}.png", 200 + number)
    extract(others, name, cluster=client, **SETTINGS)
    assert_same(renamed_file, expected)
    extract(others, tmp_path / "here.h5", **SETTINGS)
    assert_same(name, rows_of(tmp_path / "here.h5"))


@pytest.mark.parametrize("then", ["a layer added", "merge"])
def test_what_becomes_of_a_file_costs_no_copy_of_it_a_row(then, few, tmp_path, client):
    file, copy = tmp_path / "x.h5", tmp_path / "backup.h5"
    extract(few, file, cluster=client, **SETTINGS)
    expected = rows_of(file)
    shutil.copy(file, copy)
    if then == "merge":
        merge(file)
    else:
        extract(few, file, cluster=client, layers=["mean"])
    assert_same(copy, expected)
    copy.unlink()
    extract(few, file, cluster=client)
    if then == "merge":
        assert (read_header(file).shards, shards_of(file)) == (None, [])
    else:
        assert_tidy(file)


def test_merge_refuses_to_make_a_loss_final(few, tmp_path, client):
    file = tmp_path / "x.h5"
    extract(few, file, cluster=client, **SETTINGS)
    content, shards = file.read_bytes(), shards_of(file)
    lost = tmp_path / "x.h5.shards" / shards[1]
    kept = lost.read_bytes()
    lost.unlink()
    with pytest.raises(StoreError, match=r"1 of the \d+ shards of .* are gone or cut off"):
        merge(file)
    assert file.read_bytes() == content
    with h5py.File(file) as opened:  # who follows HDF5's own mapping sees it, too
        assert np.isnan(opened["embeddings/grid4.flatten"][:]).any(axis=1).sum() > 0
    lost.write_bytes(kept)
    assert merge(file).done == IMAGES


class Sick(PixelBackbone):
    """That of a machine which computes wrong values."""

    def embed(self, images):
        return {name: -value for name, value in super().embed(images).items()}


def test_rows_that_verify_found_wrong_are_made_anew(few, tmp_path, client, monkeypatch):
    file = tmp_path / "x.h5"
    with monkeypatch.context() as patch:
        use_backbone(patch, Sick)
        extract(few, file, cluster=client, **SETTINGS)
    assert verify(file).ok
    found = verify(file, few, sample=IMAGES, mend=True)
    assert found.mended == IMAGES
    assert extract(few, file, cluster=client).computed == IMAGES
    assert verify(file, few, sample=IMAGES).ok
    extract(few, tmp_path / "here.h5", **SETTINGS)
    assert_same(file, rows_of(tmp_path / "here.h5"))


def test_two_files_may_share_a_folder_for_shards(few, tmp_path, client, monkeypatch):
    first, second = tmp_path / "a.h5", tmp_path / "b.h5"
    given = {"cluster": client, "shards": tmp_path / "shards", **MANY_SHARDS}
    stop = {"stop": lambda: any((tmp_path / "shards").rglob("*.h5"))}
    with pytest.raises(StoppedError, match="are safe in"):
        extract(few, first, **stop, **given)
    safe = len(list((tmp_path / "shards").rglob("*.h5")))
    assert safe
    extract(few, second, **given)
    assert len(list((tmp_path / "shards").rglob("*.h5"))) >= safe
    batches = record_batches(monkeypatch)
    assert extract(few, first, **given).computed < IMAGES
    assert sum(map(len, batches)) < IMAGES
    assert_same(first, rows_of(second))
    assert not list((tmp_path / "shards").iterdir())


def test_an_int8_run_that_was_cut_off_keeps_its_ranges(tmp_path):
    """Calibrated again, on other images or another machine, its shards would be of no use."""
    spec = Spec("vgg16", (64, 64), "int8", "random", "0" * 64, engine="openvino")
    manifest = Manifest([ImageRecord("a.png", "", "a.png")], [b"1" * 32], [UNKNOWN])
    plan = Plan(tmp_path / "x.h5", manifest, spec, {"mean.avg": 3}, "float32", None, [], [], 1, 0)
    folder = Folder(str(tmp_path))
    assert ranges_of_shards(plan, folder) is None
    ranges = Quantization(64, 0, tuple((layer, 1.0) for layer, _ in largest_inputs(VGG16, [])))
    named = tmp_path / f"{'a' * 64}.h5"
    made = replace(spec, quantization=ranges)
    create(named, Contents(manifest, replace(made, size=(32, 32)), {"mean.avg": 3}, "float32"))
    assert ranges_of_shards(plan, folder) is None
    create(named, Contents(manifest, made, {"mean.avg": 3}, "float32"))
    assert ranges_of_shards(plan, folder) == ranges
