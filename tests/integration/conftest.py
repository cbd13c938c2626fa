"""Real embeddings of real images, made once."""

from pathlib import Path

import pytest
from PIL import Image

from tlfeatures import extract

COPIED = 30  # images that are there twice, re-encoded


@pytest.fixture(scope="session")
def scenes(data: Path, weights: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embeddings file of 200 glaciers and 200 mountains at 224, avg and flatten.

    Beside them, in the folder `again`, are the first of each class, resized and recompressed.
    """
    folder = tmp_path_factory.mktemp("scenes")
    for label in ("glacier", "mountain"):
        (folder / "images" / label).mkdir(parents=True)
        for number, path in enumerate(sorted((data / "intel" / label).iterdir())[:200]):
            (folder / "images" / label / path.name).symlink_to(path)
            if number < COPIED:
                image = Image.open(path)
                image = image.resize((image.width * 6 // 5, image.height * 6 // 5))
                image.save(folder / "images" / label / f"again_{path.stem}.jpg", quality=80)
    extract(folder / "images", folder / "scenes.h5", weights=weights, pools=["avg", "flatten"])
    return folder / "scenes.h5"
