"""What every backbone must do. A test class inherits it and gives `architecture` and `load`."""

import numpy as np
import pytest

from tlfeatures.features.backbone import BACKBONES, embedding_widths

SIZE = (48, 32)


def random_images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *SIZE, 3), np.uint8)


class BackboneContract:
    """Same rows whatever the batch, the names that were asked for, the widths that were planned."""

    name: str

    def load(self, embeddings):
        raise NotImplementedError

    def all_embeddings(self) -> dict[str, int]:
        shapes = BACKBONES[self.name].shapes(SIZE)
        layers = [layer for layer in shapes if layer not in BACKBONES[self.name].top]
        return embedding_widths(self.name, layers, ["avg", "max", "flatten"], SIZE)

    @pytest.fixture
    def outputs(self):
        return self.load(list(self.all_embeddings())).embed(random_images(3))

    def test_shapes_and_types_are_those_planned(self, outputs):
        found = {name: (rows.shape, rows.dtype.name) for name, rows in outputs.items()}
        widths = self.all_embeddings()
        assert found == {name: ((3, width), "float32") for name, width in widths.items()}

    def test_values_are_finite_and_differ_between_images(self, outputs):
        for rows in outputs.values():
            assert np.isfinite(rows).all()
            assert (rows[0] != rows[1]).any()

    def test_no_image_changes_anothers_row(self, outputs):
        names = list(self.all_embeddings())
        swapped = self.load(names).embed(random_images(3)[[2, 0, 1]])
        for name, rows in outputs.items():
            np.testing.assert_allclose(swapped[name][[1, 2, 0]], rows, rtol=1e-4, atol=1e-4)

    def test_one_pass_for_all_gives_what_each_alone_gives(self, outputs):
        for name in list(outputs)[-2:]:
            alone = self.load([name]).embed(random_images(3))
            assert list(alone) == [name]
            np.testing.assert_allclose(alone[name], outputs[name], rtol=1e-4, atol=1e-4)

    def test_poolings_are_those_of_the_feature_map(self, outputs):
        for layer, shape in BACKBONES[self.name].shapes(SIZE).items():
            if len(shape) == 3:
                pixels = outputs[f"{layer}.flatten"].reshape(3, -1, shape[-1])
                for pool, expected in (("avg", pixels.mean(axis=1)), ("max", pixels.max(axis=1))):
                    np.testing.assert_allclose(
                        outputs[f"{layer}.{pool}"], expected, rtol=1e-3, atol=1e-3
                    )

    def test_the_input_is_not_changed(self):
        images = random_images(2)
        self.load(list(self.all_embeddings())[:1]).embed(images)
        np.testing.assert_array_equal(images, random_images(2))
