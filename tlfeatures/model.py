"""A fitted head with the spec of its embedding: save, load, predict.

The model file, version 1, is a file of skops (a zip of JSON and NumPy arrays; nothing in it is
executed on loading) with one more member, ``tlfeatures.json``: ``format`` ("tlfeatures model"),
``format_version`` (integer), ``spec``, ``embedding``, ``classes``, ``images`` (fitted on),
``columns`` (of the embedding), ``head`` (name or class), ``versions``; the command `fit` adds
``params``, ``split``, ``folds``, ``groups``, ``tested`` (images) and ``scores``. That member alone
answers `info`. To change the format: raise ``FORMAT_VERSION``, keep reading every older version,
add a file of the old version to the tests' fixtures.
"""

from __future__ import annotations

import json
import logging
import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset import Dataset
from tlfeatures.errors import FormatError, ImageError, ModelError, ParameterError, SourceError
from tlfeatures.features.backbone import Backbone, embedding_widths, load_backbone
from tlfeatures.features.batches import (
    BATCH_SIZE,
    batch_size_for,
    batched,
    decode_ahead,
    readable,
)
from tlfeatures.features.images import ImageFile, find_images
from tlfeatures.features.spec import Spec, as_list

logger = logging.getLogger(__name__)

FORMAT = "tlfeatures model"
FORMAT_VERSION = 1

_MEMBER = "tlfeatures.json"
# Types that a head may hold beside those that skops itself knows to be harmless.
TRUSTED = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.tree._tree.Tree",
    "tlfeatures.classifiers.CalibratedCentroid",
    "tlfeatures.classifiers.CalibratedClassifier",
    "tlfeatures.classifiers.CalibratedRidge",
    "tlfeatures.classifiers.CalibratedSVC",
    "tlfeatures.classifiers.NearestMean",
    "tlfeatures.classifiers.ScaledMLP",
    "tlfeatures.classifiers.ShrunkLDA",
    "tlfeatures.classifiers.SmoothedNeighbors",
    "tlfeatures.coordinates.PrincipalCoordinates",
)


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image file.

    Attributes
    ----------
    path : str
    label : str or None
        None where the image can't be read.
    probabilities : dict of class to float
    error : str or None
        Why the image can't be read.
    """

    path: str
    label: str | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Model:
    """A fitted head that knows how its embedding is made.

    Attributes
    ----------
    head : fitted scikit-learn classifier
    spec : Spec
    embedding : str
        `LAYER.POOLING`.
    info : dict
        JSON-ready facts: classes, images, columns, head, versions, and what `fit` adds.
    """

    head: Any
    spec: Spec
    embedding: str
    info: dict[str, Any]

    @classmethod
    def fit(cls, head: Any, data: Dataset, *, name: str | None = None, facts: Any = None) -> Model:
        """Fit a head on all of a dataset.

        Parameters
        ----------
        head : scikit-learn classifier
            Is fitted in place; what is kept of a linear one are its coefficients.
        data : Dataset
        name : str, optional
            What `info` calls the head; its class if not given.
        facts : dict, optional
            More to be kept in `info`, JSON-ready: parameters, scores, how they were reached.

        Raises
        ------
        ModelError
            If the head gives no probabilities.
        """
        if not hasattr(head, "predict_proba"):
            raise ModelError(
                f"{type(head).__name__} has no predict_proba, which a model needs: wrap it in "
                "sklearn.calibration.CalibratedClassifierCV"
            )
        # `info` reads model files by this module, and needs no scikit-learn.
        from tlfeatures.engine import fit
        from tlfeatures.heads import compact

        fit(head, data.X, data.y, data.together)
        head = compact(head)
        info = {
            "classes": data.classes,
            "images": len(data.y),
            "columns": data.X.shape[1],
            "head": name or type(head).__name__,
            **(facts or {}),
            "versions": {
                package: metadata.version(package) for package in ("scikit-learn", "numpy")
            },
        }
        return cls(head, data.spec, data.embedding, info)

    @property
    def classes(self) -> list[str]:
        """The classes, in the order of the columns of `predict_proba`."""
        classes: list[str] = self.info["classes"]
        return classes

    # ---- use

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give the probability of each class from embeddings of shape (n, d): shape (n, k)."""
        probabilities: NDArray[np.float64] = self.head.predict_proba(X)
        return probabilities

    def predict(
        self,
        inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        weights: str | None = None,
        device: str = "auto",
        batch_size: int = BATCH_SIZE,
    ) -> Iterator[Prediction]:
        """Label image files, embedding them exactly as those that the head was fitted on.

        Parameters
        ----------
        inputs : path, or iterable of path
            Image files, and folders to be searched for them.
        weights : str, optional
            Where the backbone's weights are, if not where they were when the head was fitted.
        device : {"auto", "cpu", "gpu"}
        batch_size : int

        Returns
        -------
        iterator of Prediction
            In the order of `inputs`, one for each image, also for those that can't be read.

        Raises
        ------
        WeightsError
            If the weights are not those of the spec.
        SpecError
            If the spec asks for what this version doesn't do.
        ParameterError
            If an input does not exist.
        """
        images = [image for item in as_list(inputs) for image in _expand(Path(item))]
        if not images:
            raise SourceError("there is no image among what was given; expected files or folders")
        self._check_width()
        backbone = load_backbone(self.spec, [self.embedding], device=device, weights=weights)
        return self._label(images, backbone, batch_size_for(len(images), batch_size))

    def _label(
        self, images: list[ImageFile], backbone: Backbone, batch_size: int
    ) -> Iterator[Prediction]:
        failed: list[tuple[int, ImageError]] = []
        files = ((number, image.path, None) for number, image in enumerate(images))
        decoded = readable(decode_ahead(files, self.spec.size), failed)
        said = 0
        for numbers, batch in batched(decoded, self.spec.size, batch_size):
            X = backbone.embed(batch)[self.embedding][: len(numbers)]
            rows = dict(zip(numbers, self.predict_proba(X), strict=True))
            reasons = dict(failed)  # of every image before the last of this batch
            for number in range(said, numbers[-1] + 1):
                yield self._prediction(images[number], rows.get(number), reasons.get(number))
            said = numbers[-1] + 1
        for number, error in failed:
            if number >= said:
                yield self._prediction(images[number], None, error)

    def _check_width(self) -> None:
        layer, _, pool = self.embedding.rpartition(".")
        widths = embedding_widths(self.spec.backbone, [layer], [pool], self.spec.size)
        if widths != {self.embedding: self.info["columns"]}:
            raise ModelError(
                f"the head takes {self.info['columns']} columns, the backbone gives {widths}: "
                "the model file is damaged; fit it again"
            )

    def _prediction(
        self, image: ImageFile, row: NDArray[np.float64] | None, error: ImageError | None
    ) -> Prediction:
        path = str(image.path)
        if row is None:
            return Prediction(path, error=str(error))
        probabilities = dict(zip(self.classes, row.tolist(), strict=True))
        return Prediction(path, self.classes[int(row.argmax())], probabilities)

    # ---- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, replacing it only once it is whole.

        Raises
        ------
        ModelError
            If the head holds a type that loading would refuse, or the disk refuses the file.
        """
        import skops.io

        target = check_model_target(path)
        facts = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "spec": self.spec.to_dict(),
            "embedding": self.embedding,
            **self.info,
        }
        temporary = target.with_name(f".{target.name}.{os.getpid()}.new")
        try:
            skops.io.dump(self.head, temporary, compression=zipfile.ZIP_DEFLATED)
            _check_types(temporary, target)
            with zipfile.ZipFile(temporary, "a", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(_MEMBER, json.dumps(facts, indent=1))
            os.replace(temporary, target)
        except OSError as error:
            raise ModelError(f"{target} can't be written: {error.strerror or error}") from error
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """Read a model from a file; nothing in it is executed.

        Raises
        ------
        FormatError
            If it is no model file, one of a newer version, or a damaged one.
        ModelError
            If it holds a type that is not on the list of trusted ones; the type is named.
        """
        import skops.io

        path = Path(path)
        facts = read_model_info(path)
        _check_types(path, path)
        _warn_about_version(facts)
        try:
            head = skops.io.load(path, trusted=list(TRUSTED))
        except Exception as error:  # a damaged file can fail anywhere in skops
            raise FormatError(f"{path} is a damaged model file: {error}") from error
        spec = Spec.from_dict(facts["spec"])
        outside = {"format", "format_version", "spec", "embedding"}
        info = {key: value for key, value in facts.items() if key not in outside}
        return cls(head, spec, facts["embedding"], info)


def read_model_info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the facts in a model file without constructing anything from it.

    Raises
    ------
    FormatError
        If it is no model file, one of a newer version, or a damaged one.
    """
    path = Path(path)
    if not path.is_file():
        raise ParameterError(
            f"{path} does not exist; make it with `tlfeatures fit FILE.h5 -o {path}`"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            facts: dict[str, Any] = json.loads(archive.read(_MEMBER))
    except Exception as error:  # a damaged zip raises anything, from zlib.error to RuntimeError
        raise FormatError(f"{path} is not a model file that `tlfeatures fit -o` made") from error
    found = facts if isinstance(facts, dict) else {}
    if found.get("format") != FORMAT or found.get("format_version") != FORMAT_VERSION:
        raise FormatError(
            f"{path} has format {found.get('format')} version {found.get('format_version')}, this "
            f"tlfeatures reads version {FORMAT_VERSION}: `pip install --upgrade tlfeatures`"
        )
    wrong = [name for name, kind in _FACTS.items() if not isinstance(found.get(name), kind)]
    if wrong:
        raise FormatError(f"{path} is a damaged model file: {', '.join(wrong)} missing or wrong")
    Spec.from_dict(found["spec"])
    return facts


_FACTS = {
    "spec": dict,
    "embedding": str,
    "classes": list,
    "images": int,
    "columns": int,
    "head": str,
    "versions": dict,
}


def check_model_target(path: str | os.PathLike[str]) -> Path:
    """Refuse a place where saving a model would destroy something else.

    Returns
    -------
    Path
        With links resolved, so that a link stays one.

    Raises
    ------
    ParameterError
        If it is a folder, in no folder, or a file that is no model.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise ParameterError(f"{path} is a folder; name a file, as in -o {path}/best.model")
    if not target.parent.is_dir():
        raise ParameterError(f"there is no folder {target.parent} for the model; make it first")
    if target.exists():
        try:
            read_model_info(target)
        except FormatError as error:
            raise ParameterError(
                f"{path} exists and is no model of this version; give another name, or remove it"
            ) from error
    return target


def _check_types(file: Path, named: Path) -> None:
    import skops.io

    try:
        untrusted = set(skops.io.get_untrusted_types(file=file)) - set(TRUSTED)
    except Exception as error:  # a damaged file can fail anywhere in skops
        raise FormatError(f"{named} is a damaged model file: {error}") from error
    if untrusted:
        raise ModelError(
            f"{named} holds types that are not trusted: {', '.join(sorted(untrusted))}; only heads "
            "of known types can be kept in a file"
        )


def _warn_about_version(facts: dict[str, Any]) -> None:
    fitted = facts["versions"].get("scikit-learn")
    here = metadata.version("scikit-learn")
    if fitted != here:
        logger.warning("the model was fitted with scikit-learn %s, this is %s", fitted, here)


def _expand(path: Path) -> list[ImageFile]:
    if path.is_dir():
        return find_images(path)
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise ParameterError(f"{path} {what}; expected an image or a folder of images")
    return [ImageFile(path.name, path)]
