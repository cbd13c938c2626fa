"""Any story of adding, removing, renaming, interrupting and starting anew ends in the right file.

Promise: nothing is computed twice, after images were added, moved, renamed or duplicated.

Hypothesis tells the stories; after every finished run the file must hold exactly the folder.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.fakes import Failing, use_backbone, write_image
from tlfeatures import Extractor, extract
from tlfeatures.errors import StoreError
from tlfeatures.features.backbones.pixels import PixelBackbone
from tlfeatures.features.file.reader import open_embeddings

EMBEDDINGS = ["grid4.avg", "grid4.max", "mean.none"]


class Stories(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.photos, self.file = self.folder / "photos", self.folder / "x.h5"
        self.images: dict[str, int] = {}
        self.names: set[str] = set()
        for content in range(4):
            self.add(content, content)

    def teardown(self):
        shutil.rmtree(self.folder)

    @rule(name=st.integers(0, 9), content=st.integers(0, 6))
    def add(self, name, content):
        self.images[f"{'ab'[name % 2]}/{name}.png"] = content
        write_image(self.photos / f"{'ab'[name % 2]}/{name}.png", content)

    @rule(data=st.data())
    def remove(self, data):
        if len(self.images) > 1:
            name = data.draw(st.sampled_from(sorted(self.images)))
            del self.images[name]
            (self.photos / name).unlink()

    @rule()
    def start_anew(self):
        self.file.unlink(missing_ok=True)
        self.names = set()

    @rule(name=st.sampled_from([None, *EMBEDDINGS]), batches=st.integers(0, 3))
    def cut_off(self, name, batches):
        with pytest.MonkeyPatch.context() as patch:
            use_backbone(patch, lambda names: Failing(PixelBackbone(names), batches))
            try:
                self.run(name)
            except StoreError:
                return
        self.finished()

    @rule(name=st.sampled_from([None, *EMBEDDINGS]))
    def extract(self, name):
        result = self.run(name)
        self.finished()
        assert result.images == result.computed + result.reused == len(self.images)

    def run(self, name):
        layer, _, pool = (name or "").rpartition(".")
        asked = {"layers": [layer], "pools": [pool]} if name else {}
        if not self.file.exists() and not name:
            name, asked = "grid4.avg", {"layers": ["grid4"], "pools": ["avg"]}
        self.names |= {name} - {None}  # also of a run that is cut off: the next one finishes it
        return extract(
            self.photos, self.file, backbone="pixels", size=8, batch_size=2, prune=True, **asked
        )

    def finished(self):
        """Every image, every embedding asked for since the file was begun, every value right."""
        with open_embeddings(self.file) as reader:
            assert reader.header.ids == sorted(self.images)
            assert reader.header.done.all()
            assert set(reader.header.embeddings) >= self.names
            for stored in reader.header.embeddings:
                layer, _, pool = stored.rpartition(".")
                extractor = Extractor("pixels", layer, pool, size=8)
                paths = [self.photos / id_ for id_ in reader.header.ids]
                np.testing.assert_allclose(reader.read(stored), extractor.transform(paths))
        assert [path.name for path in self.folder.glob("*.partial")] == []


Stories.TestCase.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
TestStories = Stories.TestCase


class ManyStories(Stories):
    pass


ManyStories.TestCase.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
TestManyStories = pytest.mark.long(ManyStories.TestCase)
