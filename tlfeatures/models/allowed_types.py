"""What a model file may hold: read as data, judged against lists, and only then constructed.

skops constructs what it knows to be harmless, every estimator of scikit-learn among it, and what
it is told to trust. A head needs far less, so the file's description of itself is first held
against a list of how an object may be made, and of which type it may then be. It names no
function, no method, no operator, and no way to call a class with arguments, but for one:
scikit-learn's Tree, whose arguments are judged, too. skops then audits the file once more by its
own rules.

Types alone don't make a head harmless: compiled code follows the numbers in it without looking at
bounds (the nodes of trees, the arrays of libsvm, the labels of neighbours), so that made-up ones
could crash the process, or write where they should not. They are judged once the head is
constructed, before anything is predicted; `broken` has one function for each such reader.
"""

from __future__ import annotations

import functools
import math
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NUMBERS = frozenset(
    {f"numpy.{name}" for name in ("bool", "bool_", "str_", "float16", "float32", "float64")}
    | {f"numpy.{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
_TREE = "sklearn.tree._tree.Tree"

# skops's ways to make an object, and what may be made in each but the last, `ObjectNode`, which
# makes an object without calling its class and sets its attributes.
WAYS = {
    "DictNode": frozenset(
        {
            "builtins.dict",
            "sklearn.utils._bunch.Bunch",
            "tlfeatures.heads.class_weights.ClassWeights",
        }
    ),
    "JsonNode": frozenset({"builtins.str"}),  # as skops calls all that JSON can say
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
    # Of the keys of dictionaries.
    "TypeNode": _NUMBERS | {f"builtins.{name}" for name in ("bool", "float", "int", "str")},
}

# Types of the heads of this package, and of what they are made of.
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
        "tlfeatures.heads.classifiers.calibrated_centroid.CalibratedCentroid",
        "tlfeatures.heads.classifiers.calibrated_classifier.CalibratedClassifier",
        "tlfeatures.heads.classifiers.calibrated_ridge.CalibratedRidge",
        "tlfeatures.heads.classifiers.calibrated_svc.CalibratedSVC",
        "tlfeatures.heads.classifiers.named_boosting.NamedBoosting",
        "tlfeatures.heads.classifiers.nearest_mean.NearestMean",
        "tlfeatures.heads.classifiers.scaled_mlp.ScaledMLP",
        "tlfeatures.heads.classifiers.shrunk_lda.ShrunkLDA",
        "tlfeatures.heads.classifiers.smoothed_neighbors.SmoothedNeighbors",
        "tlfeatures.heads.coordinates.PrincipalCoordinates",
    }
    # Losses and links of boosting, of two classes and of more.
    | {f"sklearn._loss.loss.Half{kind}Loss" for kind in ("Binomial", "Multinomial")}
    | {f"sklearn._loss.link.{name}" for name in ("Interval", "LogitLink", "MultinomialLogit")}
)

# Its compiled reader of labels has rules of its own, and no head needs it.
_NEVER = "RadiusNeighborsClassifier"


@functools.cache
def trusted_types() -> frozenset[str]:
    """Give the names of all types that a model file may hold."""
    return _objects().union(*WAYS.values())


@functools.cache
def _objects() -> frozenset[str]:
    """Those of `OBJECTS`, and scikit-learn's own classifiers with the trees they are made of.

    Each of these can be a head by `--head module:Class`.
    """
    from sklearn.utils import all_estimators

    kinds = [kind for name, kind in all_estimators(type_filter="classifier") if name != _NEVER]
    names = {f"{kind.__module__}.{kind.__name__}" for kind in kinds}
    names |= {f"sklearn.tree._classes.{name}TreeRegressor" for name in ("Decision", "Extra")}
    return OBJECTS | {name for name in names if name.startswith("sklearn.")}


# ---- the file's description of itself


def untrusted(schema: Any) -> list[str]:
    """Name what a file's own description holds and may not hold.

    Parameters
    ----------
    schema : JSON data
        skops's `schema.json`.

    Returns
    -------
    list of str
        Types, sorted; one that may not be made in the way that is described stands with that way.
    """
    ways, known = {**WAYS, "ObjectNode": _objects()}, trusted_types()
    found = set()
    for node in _nodes(schema):
        name, way = f"{node.get('__module__')}.{node.get('__class__')}", str(node.get("__loader__"))
        if name not in ways.get(way, ()):
            found.add(name if way in ways and name not in known else f"{name} (by {way})")
        if way == "RandomGeneratorNode" and _generator(node) != '"PCG64"':
            found.add(f"numpy.random.{_generator(node)}")  # older skops calls whatever it names
    return sorted(found)


def _generator(node: dict[str, Any]) -> Any:
    return node["content"]["bit_generator"]["content"]["bit_generator"]["content"]


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every described object, wherever it stands; a stack, as a file may nest deeply."""
    waiting = [schema]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if {"__loader__", "__class__", "__module__", "__id__"} & set(item):
                yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def crafted(archive: zipfile.ZipFile, schema: Any) -> str | None:
    """Say what a file's description has that skops would never write.

    Parameters
    ----------
    archive : ZipFile
        The model file.
    schema : JSON data
        Its `schema.json`, in which `untrusted` found nothing.

    Returns
    -------
    str or None
        The first such thing. Without any, what is described is what will be constructed, no array
        is larger than its member, and each is read once.

    Raises
    ------
    ValueError
        If a member is no plain array.
    """
    shapes = _array_shapes(archive)
    forms, form_of = _Forms(), dict[int, int]()
    for node in _nodes(schema):
        number = node.get("__id__")
        if not isinstance(number, int):
            return "an object without a number"
        # skops makes one object of all that have a number, whatever the others say.
        form = forms.of(node)
        if form_of.setdefault(number, form) != form:
            return f"two objects with the number {number}"
        if "file" in node and (node["file"] != f"{number}.npy" or node["file"] not in shapes):
            return f"an array in {node['file']!r}"
        if node["__loader__"] == "TreeNode" and not _is_tree_of_classifier(node, shapes):
            return "a tree of another kind than classifiers have"
    return None


def _array_shapes(archive: zipfile.ZipFile) -> dict[str, tuple[int, ...]]:
    """Shape of each array of the file, by its member."""
    return {
        info.filename: _array_shape(archive, info)
        for info in archive.infolist()
        if info.filename.endswith(".npy")
    }


def _array_shape(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[int, ...]:
    """Read the header alone: it may ask for objects, which are pickles, or for too much memory."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    with archive.open(info) as member:
        shape, _, dtype = readers[np.lib.format.read_magic(member)](member)
        bytes_left = info.file_size - member.tell()
    size = math.prod(shape)
    if dtype.hasobject or not dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"{info.filename} is no plain array")
    if size * dtype.itemsize != bytes_left:
        raise ValueError(f"{info.filename} holds {bytes_left:,} bytes of {size:,} {dtype}")
    return tuple(shape)


class _Forms:
    """Equal numbers for equal descriptions; the numbers of the objects in them don't count."""

    def __init__(self) -> None:
        self._forms: dict[Any, int] = {}
        self._done: dict[int, int] = {}  # by the identity of a part of the description

    def of(self, item: Any) -> int:
        if not isinstance(item, dict | list):
            return self._number((type(item), item))
        if id(item) not in self._done:
            self._done[id(item)] = self._number(tuple(self._parts(item)))
        return self._done[id(item)]

    def _parts(self, item: Any) -> Iterator[Any]:
        yield type(item)
        if isinstance(item, list):
            yield from map(self.of, item)
            return
        names = {"__id__", "file", "protocol", "_skops_version"} if "__loader__" in item else set()
        yield from ((name, self.of(part)) for name, part in item.items() if name not in names)

    def _number(self, form: Any) -> int:
        return self._forms.setdefault(form, len(self._forms))


def _is_tree_of_classifier(node: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether Tree is called with columns, one number of classes, and 1; and has a row of nodes.

    It would read as many numbers of classes as it is told that there are outputs, and count the
    nodes of an array that has no dimension.
    """
    arguments = node["__reduce__"]["args"]["content"]
    if not isinstance(arguments, list) or len(arguments) != 3:
        return False
    _, classes, outputs = arguments
    if outputs.get("content") != "1" or shapes.get(classes.get("file")) != (1,):
        return False
    nodes = node["content"]["content"].get("nodes", {})
    return len(shapes.get(nodes.get("file"), ())) == 1


# ---- the head that was constructed


def broken(head: Any) -> str | None:
    """Say what would make compiled code leave its arrays, if anything.

    Parameters
    ----------
    head : fitted scikit-learn classifier
        Of trusted types; nothing has been predicted with it yet.

    Returns
    -------
    str or None
        The first such thing.
    """
    checks = _checks()
    for owner, name, item in _parts(head):
        kind = type(item)
        if kind.__module__ == "sklearn.tree._tree" and (name != "tree_" or not _is_tree(owner)):
            return "a tree that belongs to nothing"
        hidden = set(vars(item)) & set(dir(kind)) if hasattr(item, "__dict__") else set()
        if hidden:
            return f"{kind.__name__}.{min(hidden)}, which is no attribute but the class's own"
        for base, check in checks.items():
            if isinstance(item, base) and not check(item):
                return f"a {kind.__name__} with arrays that don't fit each other"
    return None


def _parts(head: Any) -> Iterator[tuple[Any, str | None, Any]]:
    """Everything that a head holds, with what holds it and the name of the attribute if it is one.

    A thing comes once for each that holds it.
    """
    waiting: list[tuple[Any, str | None, Any]] = [(None, None, head)]
    seen = set()
    while waiting:
        yield waiting[-1]
        item = waiting.pop()[2]
        if id(item) in seen:
            continue
        seen.add(id(item))
        inner: Any = ()
        if isinstance(item, dict):
            inner = item.values()
        elif isinstance(item, list | tuple | set):
            inner = item
        elif isinstance(item, np.ndarray) and item.dtype == object:
            inner = item.ravel().tolist()
        waiting += [(item, None, value) for value in inner]
        if hasattr(item, "__dict__"):
            waiting += [(item, name, value) for name, value in vars(item).items()]


Check = Callable[[Any], bool]


@functools.cache
def _checks() -> dict[type, Check]:
    """For each class that hands numbers to compiled code: whether these can be followed."""
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC, NuSVC
    from sklearn.tree import BaseDecisionTree

    from tlfeatures.heads.coordinates import PrincipalCoordinates

    checks: dict[type, Check] = {
        BaseDecisionTree: _whole_tree,
        GradientBoostingClassifier: _whole_boosting,
        HistGradientBoostingClassifier: _whole_histogram_boosting,
        KNeighborsClassifier: _whole_neighbors,
        SVC: _whole_svc,
        NuSVC: _whole_svc,
        np.random.RandomState: _whole_random_state,
        PrincipalCoordinates: _whole_coordinates,
    }
    return {kind: functools.partial(_holds, check) for kind, check in checks.items()}


def _holds(check: Check, item: Any) -> bool:
    """Whether a check holds; what can't even be checked, as it isn't there, doesn't hold.

    An estimator that isn't fitted predicts nothing, and is a parameter of another one.
    """
    if hasattr(item, "__dict__") and not any(name.endswith("_") for name in vars(item)):
        return True
    try:
        return check(item)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return False


def _is_tree(item: Any) -> bool:
    from sklearn.tree import BaseDecisionTree

    return isinstance(item, BaseDecisionTree)


def _whole_tree(item: Any) -> bool:
    """Of `sklearn.tree`; a forest shows X to the first of its trees alone."""
    tree = item.tree_
    if not 0 < tree.node_count == tree.capacity or item.n_features_in_ != tree.n_features:
        return False
    leaf = tree.children_left == -1
    sides = tree.children_left, tree.children_right
    return item.n_outputs_ == 1 and _inside(*sides, tree.feature, leaf, tree.n_features)


def _inside(
    left: NDArray[Any], right: NDArray[Any], column: NDArray[Any], leaf: NDArray[Any], columns: int
) -> bool:
    """Whether every path ends within the tree, and looks at columns that there are."""
    here = np.flatnonzero(~leaf)
    children = [side[here].astype(np.int64) for side in (left, right)]
    used = column[here].astype(np.int64)
    behind = all(bool(((side > here) & (side < len(left))).all()) for side in children)
    return len(left) > 0 and behind and bool(((used >= 0) & (used < columns)).all())


def _whole_boosting(item: Any) -> bool:
    """Its reader adds tree k of each round to column k of what the first guess gives."""
    from sklearn.dummy import DummyClassifier
    from sklearn.tree import DecisionTreeRegressor

    trees, guess, classes = item.estimators_, item.init_, len(item.classes_)
    count = classes if item._loss.is_multiclass else 1
    if guess != "zero" and not (
        type(guess) is DummyClassifier
        and guess.strategy == "prior"
        and guess.n_outputs_ == 1
        and guess.class_prior_.shape == (classes,)
    ):
        return False
    return (
        trees.ndim == 2
        and len(trees) > 0
        and trees.shape[1] == count == item.n_trees_per_iteration_
        and all(type(tree) is DecisionTreeRegressor for tree in trees.flat)
        and {tree.n_features_in_ for tree in trees.flat} == {item.n_features_in_}
        and {tree.tree_.value.shape[1:] for tree in trees.flat} == {(1, 1)}
    )


def _whole_histogram_boosting(item: Any) -> bool:
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    columns = vars(item)["n_features_in_"]
    if item._preprocessor is not None:  # it would be the one that is shown X
        return False
    for tree in [tree for trees in _listed(item._predictors) for tree in _listed(trees)]:
        nodes = tree.nodes
        if type(tree) is not TreePredictor or nodes.dtype != PREDICTOR_RECORD_DTYPE:
            return False
        leaf = nodes["is_leaf"] != 0
        # Our embeddings have no categories, and a file has no bits of them to look into.
        if nodes["is_categorical"].any() or not _inside(
            nodes["left"], nodes["right"], nodes["feature_idx"], leaf, columns
        ):
            return False
    return True


def _listed(item: Any) -> list[Any]:
    """A list, and nothing else that can be gone through and then gives something else."""
    if type(item) is not list:
        raise TypeError(f"expected a list, got {type(item).__name__}")
    return item


def _whole_neighbors(item: Any) -> bool:
    """Its reader adds votes in the column that a label names."""
    rows, labels = item._fit_X, item._y
    plain = item.metric_params is None and not item.outputs_2d_ and item._tree is None
    return (
        plain
        and item._fit_method == "brute"
        and isinstance(item.metric, str)
        and item.weights in ("uniform", "distance")
        and item.effective_metric_params_.keys() <= {"p"}
        and rows.shape == (item.n_samples_fit_, item.n_features_in_)
        and bool(np.isfinite(rows).all())
        and labels.shape == rows.shape[:1]
        and bool(((labels >= 0) & (labels < len(item.classes_))).all())
        and 1 <= item.n_neighbors <= len(rows)
    )


def _whole_svc(item: Any) -> bool:
    """It tells libsvm how many classes there are, which takes the rest for granted."""
    counts, support, vectors = item._n_support, item.support_, item.support_vectors_
    classes, rows = len(item.classes_), len(support)
    pairs = classes * (classes - 1) // 2
    sizes = {item._probA.shape, item._probB.shape}
    if item.kernel == "precomputed":
        known = item.shape_fit_[0]
        fits = vectors.size == 0 and bool(((support >= 0) & (support < known)).all())
    else:
        fits = vectors.shape == (rows, item.n_features_in_)
    return (
        fits
        and item._sparse is False
        and item.kernel in ("linear", "poly", "precomputed", "rbf", "sigmoid")
        and support.shape == (rows,)
        and rows > 0
        and classes > 1
        and counts.shape == (classes,)
        and bool((counts >= 0).all())
        and int(counts.sum(dtype=np.int64)) == rows
        and item._dual_coef_.shape == (classes - 1, rows)
        and item._intercept_.shape == (pairs,)
        and len(sizes) == 1
        and sizes <= {(0,), (pairs,)}
    )


def _whole_random_state(item: Any) -> bool:
    """The position is where its next number is read from."""
    state = item.get_state(legacy=False)
    return bool(state["bit_generator"] == "MT19937" and 0 <= state["state"]["pos"] <= 624)


def _whole_coordinates(item: Any) -> bool:
    """Columns that it never fills would show what lay in memory before."""
    axes, columns = item.components_, item.n_features_in_
    return bool(
        item._n_features_out == len(axes) + (item.n_components is None)
        and axes.shape[1] == columns
        and item.mean_.shape == item.scale_.shape == (columns,)
    )
