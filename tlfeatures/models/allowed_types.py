"""The types that a model file may contain, and how skops may construct each of them.

Attack: a crafted file makes skops call a function, or construct an object that runs code.
Invariant: a file contains only the types below, and each type is constructed in its listed way. The
lists contain no function, no method, no operator and no class that is called with arguments, except
scikit-learn's Tree, whose arguments are checked. The lists are shorter than those of skops, which
checks the file again with its own rules.
"""

from __future__ import annotations

import functools

_NUMBERS = frozenset(
    {f"numpy.{name}" for name in ("bool", "bool_", "str_", "float16", "float32", "float64")}
    | {f"numpy.{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
_TREE = "sklearn.tree._tree.Tree"

# The ways in which skops constructs objects, and the types that each way may construct.
# `ObjectNode` may construct `object_types`. It sets the attributes of an object without calling its
# class.
WAYS = {
    "DictNode": frozenset(
        {
            "builtins.dict",
            "sklearn.utils._bunch.Bunch",
            "tlfeatures.heads.class_weights.ClassWeights",
        }
    ),
    "JsonNode": frozenset({"builtins.str"}),  # skops's type of all plain JSON values
    "ListNode": frozenset({"builtins.list"}),
    "LossNode": frozenset(
        f"sklearn._loss._loss.CyHalf{kind}Loss" for kind in ("Binomial", "Multinomial")
    ),
    "NdArrayNode": _NUMBERS | {"numpy.ndarray"},
    "RandomGeneratorNode": frozenset({"numpy.random._generator.Generator"}),
    "RandomStateNode": frozenset({"numpy.random.mtrand.RandomState"}),
    "SetNode": frozenset({"builtins.set"}),
    "TreeNode": frozenset({_TREE}),
    "TupleNode": frozenset({"builtins.tuple"}),
    # Types of the keys of dictionaries.
    "TypeNode": _NUMBERS | {f"builtins.{name}" for name in ("bool", "float", "int", "str")},
}

# Types of the heads of this package, and of their parts.
OBJECTS = frozenset(
    {
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._label.LabelBinarizer",
        "sklearn.preprocessing._label.LabelEncoder",
        "tlfeatures.heads.block_coordinates.BlockCoordinates",
        "tlfeatures.heads.classifiers.block_decisions.LandmarkDecisions",
        "tlfeatures.heads.classifiers.block_decisions.LinearDecisions",
        "tlfeatures.heads.classifiers.block_lda.BlockLDA",
        "tlfeatures.heads.classifiers.block_logistic.BlockLogistic",
        "tlfeatures.heads.classifiers.calibrated_block_centroid.CalibratedBlockCentroid",
        "tlfeatures.heads.classifiers.calibrated_block_ridge.CalibratedBlockRidge",
        "tlfeatures.heads.classifiers.calibrated_block_svm.CalibratedBlockSVM",
        "tlfeatures.heads.classifiers.calibrated_centroid.CalibratedCentroid",
        "tlfeatures.heads.classifiers.calibrated_classifier.CalibratedClassifier",
        "tlfeatures.heads.classifiers.calibrated_landmark_svm.CalibratedLandmarkSVM",
        "tlfeatures.heads.classifiers.calibrated_ridge.CalibratedRidge",
        "tlfeatures.heads.classifiers.calibrated_svc.CalibratedSVC",
        "tlfeatures.heads.classifiers.named_boosting.NamedBoosting",
        "tlfeatures.heads.classifiers.nearest_mean.NearestMean",
        "tlfeatures.heads.classifiers.scaled_mlp.ScaledMLP",
        "tlfeatures.heads.classifiers.shrunk_lda.ShrunkLDA",
        "tlfeatures.heads.classifiers.smoothed_neighbors.SmoothedNeighbors",
        "tlfeatures.heads.coordinates.PrincipalCoordinates",
    }
    # Losses and links of boosting, for two classes and for more.
    | {f"sklearn._loss.loss.Half{kind}Loss" for kind in ("Binomial", "Multinomial")}
    | {f"sklearn._loss.link.{name}" for name in ("Interval", "LogitLink", "MultinomialLogit")}
)

# `head_arrays` can't check the arrays of this type, and no head needs it.
_NEVER = "RadiusNeighborsClassifier"


@functools.cache
def trusted_types() -> frozenset[str]:
    """Return the names of all types that a model file may contain."""
    return object_types().union(*WAYS.values())


@functools.cache
def object_types() -> frozenset[str]:
    """Return `OBJECTS`, scikit-learn's classifiers (which `--head` accepts) and their trees."""
    from sklearn.utils import all_estimators

    kinds = [kind for name, kind in all_estimators(type_filter="classifier") if name != _NEVER]
    names = {f"{kind.__module__}.{kind.__name__}" for kind in kinds}
    names |= {f"sklearn.tree._classes.{name}TreeRegressor" for name in ("Decision", "Extra")}
    return OBJECTS | {name for name in names if name.startswith("sklearn.")}
