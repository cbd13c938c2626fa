"""What every backbone must do. A test class inherits it and gives `name` and the fixture `load`."""

import numpy as np
import pytest

from tlfeatures.features.backbones.table import BACKBONES, embedding_widths

SIZE = (48, 32)


def random_images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *SIZE, 3), np.uint8)


def all_embeddings(backbone: str) -> dict[str, int]:
    """Name each layer, but for those of the top, in each pooling; with their widths."""
    shapes = BACKBONES[backbone].shapes(SIZE)
    layers = [layer for layer in shapes if layer not in BACKBONES[backbone].network.top]
    return embedding_widths(BACKBONES[backbone], layers, ["avg", "max", "flatten"], SIZE)


class BackboneContract:
    """Same rows whatever the batch, the names that were asked for, the widths that were planned."""

    name: str

    @pytest.fixture(scope="class")
    @classmethod
    def load(cls):
        """Give what loads the backbone: names of embeddings to Backbone."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def tolerance(cls):
        """Give the relative difference that rounding in the network may make."""
        return 1e-4

    @pytest.fixture(scope="class")
    @classmethod
    def backbone(cls, load):
        """The backbone with all its embeddings."""
        return load(list(all_embeddings(cls.name)))

    @pytest.fixture(scope="class")
    @classmethod
    def outputs(cls, backbone):
        """All embeddings of three images; tests only read them."""
        return backbone.embed(random_images(3))

    def test_shapes_and_types_are_those_planned(self, outputs):
        found = {name: (rows.shape, rows.dtype.name) for name, rows in outputs.items()}
        widths = all_embeddings(self.name)
        assert found == {name: ((3, width), "float32") for name, width in widths.items()}

    def test_values_are_finite_and_differ_between_images(self, outputs):
        for rows in outputs.values():
            assert np.isfinite(rows).all()
            assert (rows[0] != rows[1]).any()

    def test_no_image_changes_anothers_row(self, backbone, outputs):
        swapped = backbone.embed(random_images(3)[[2, 0, 1]])
        for name, rows in outputs.items():
            np.testing.assert_allclose(swapped[name][[1, 2, 0]], rows, rtol=1e-4, atol=1e-4)

    def test_a_row_is_the_same_bits_at_its_place_whatever_else_is_in_the_batch(self, backbone):
        whole, images = backbone.embed(random_images(4)), random_images(4, seed=1)
        for place in range(4):
            batch = images.copy()
            batch[place] = random_images(4)[place]
            for name, rows in backbone.embed(batch).items():
                np.testing.assert_array_equal(rows[place], whole[name][place], err_msg=name)

    def test_one_pass_for_all_gives_what_each_alone_gives(self, load, outputs, tolerance):
        for name in (min(outputs), max(outputs)):
            alone = load([name]).embed(random_images(3))
            assert list(alone) == [name]
            scale = np.abs(outputs[name]).max()
            np.testing.assert_allclose(alone[name], outputs[name], atol=tolerance * scale)

    def test_poolings_are_those_of_the_feature_map(self, outputs):
        maps = [name.removesuffix(".flatten") for name in outputs if name.endswith(".flatten")]
        assert maps
        for layer in maps:
            shape = BACKBONES[self.name].shapes(SIZE)[layer]
            pixels = outputs[f"{layer}.flatten"].reshape(3, -1, shape[-1])
            for pool, expected in (("avg", pixels.mean(axis=1)), ("max", pixels.max(axis=1))):
                found = outputs[f"{layer}.{pool}"]
                np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)

    def test_the_input_is_not_changed(self, backbone):
        images = random_images(2)
        backbone.embed(images)
        np.testing.assert_array_equal(images, random_images(2))


class AnyBatchContract(BackboneContract):
    """As well, for a backbone to which neither the batch's shape nor the place in it matters."""

    def test_it_says_so(self, backbone):
        assert not backbone.one_shape

    def test_rows_are_the_same_bits_whatever_the_batch(self, backbone):
        images = random_images(19)
        whole = backbone.embed(images)
        for rows in ([3], [18, 0], list(range(2, 19)), list(range(18, -1, -1))):
            for name, part in backbone.embed(images[rows]).items():
                np.testing.assert_array_equal(part, whole[name][rows], err_msg=name)
