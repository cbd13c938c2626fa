"""Several heads at once: by their names, as classifiers, or in a list or a mapping of these."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from sklearn.base import BaseEstimator, clone

from tlfeatures.errors import ParameterError
from tlfeatures.heads.class_weights import with_named_weights
from tlfeatures.heads.custom_heads import check_classifier, class_name
from tlfeatures.heads.parameters import parameter_names, short_names
from tlfeatures.heads.table import ALIASES, HEADS, OneHead, make_head
from tlfeatures.names import as_list, unknown_name

logger = logging.getLogger(__name__)

Heads: TypeAlias = OneHead | Iterable[OneHead] | Mapping[str, OneHead]


def head_names(names: str | Iterable[str]) -> list[str]:
    """Return names of heads for names, aliases, lists with commas, and "all"; without repeats."""
    parts = [part for name in as_list(names) for part in name.split(",")]
    expanded = [head for name in parts for head in (HEADS if name == "all" else [name])]
    return list(dict.fromkeys(ALIASES.get(name, name) for name in expanded))


def named_heads(heads: Heads) -> dict[str, OneHead]:
    """Return heads by name, before they are created.

    `make_heads` describes the parameter, the names and the errors.

    Returns
    -------
    dict of name to str or scikit-learn classifier
        A str is a name that `make_head` accepts.

    Examples
    --------
    >>> from sklearn.svm import SVC
    >>> named_heads(["knn,svm", SVC()])
    {'knn': 'knn', 'rbf-svm': 'rbf-svm', 'SVC': SVC()}
    """
    by_name: dict[str, OneHead] = {}
    if isinstance(heads, Mapping):
        for name, head in heads.items():
            if not (isinstance(name, str) and name):
                raise ParameterError(f"heads has the name {name!r}; expected a text")
            is_name = isinstance(head, str)
            by_name[name] = head if is_name else check_classifier(head, f"heads[{name!r}]")
    else:
        # A pipeline is a single head, although it is iterable.
        is_one = isinstance(heads, str | BaseEstimator) or not isinstance(heads, Iterable)
        for head in [heads] if is_one else heads:
            by_name |= _with_name(head, by_name)
    if not by_name:
        raise ParameterError(
            "heads is empty; expected the name of a head, a scikit-learn classifier, or a list or "
            "dict of these"
        )
    return by_name


def _with_name(head: OneHead, others: Iterable[str]) -> dict[str, OneHead]:
    if isinstance(head, str):
        return {name: name for name in head_names(head)}
    name = class_name(check_classifier(head, "heads"))
    if name in others:
        raise ParameterError(
            f"heads has two classifiers named {name}; give them names in a dict, for example "
            f'{{"first": {name}(...), "second": {name}(...)}}'
        )
    return {name: head}


def make_heads(
    heads: Heads,
    params: Mapping[str, Any] | None = None,
    *,
    random_state: int | None = 0,
    many_rows: bool = False,
) -> dict[str, BaseEstimator]:
    """Create several heads. Each head gets those of the parameters that it has.

    Parameters
    ----------
    heads : str, scikit-learn classifier, or list or mapping of these
        One of the following. A name (see `make_head`), several names with commas between them, or
        "all" for all heads of `HEADS`. A classifier: it is fitted on all columns as they are
        stored, and keeps its own parameters and seed. A list of names and classifiers. A mapping of
        your own names to one name or classifier each. Outside a mapping, a classifier has the name
        of its class, and a pipeline has the name of its last step's class.
    params : mapping, optional
        Parameters of the heads that are given by name, see `make_head`.
    random_state : int or None
        Seed of the heads that are given by name.
    many_rows : bool, default False
        Whether the heads that are given by name have their forms for many rows, see `make_head`.

    Returns
    -------
    dict of name to scikit-learn classifier
        Heads before their fit. A given classifier is cloned.

    Raises
    ------
    ParameterError
        If a head is unknown, no head given by name has a parameter, two classifiers have the same
        name, or an object is neither a name nor a classifier.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> list(make_heads(["logreg", RandomForestClassifier()], {"C": 0.1}))
    ['logreg', 'RandomForestClassifier']
    >>> list(make_heads({"forest": RandomForestClassifier(), "baseline": "dummy"}))
    ['forest', 'baseline']
    """
    given = named_heads(heads)
    own = _own_params(given, params or {}, many_rows)
    return {
        name: make_head(head, random_state=random_state, many_rows=many_rows, **own[name])
        if isinstance(head, str)
        else with_named_weights(clone(head))
        for name, head in given.items()
    }


def _own_params(
    given: Mapping[str, OneHead], params: Mapping[str, Any], many_rows: bool = False
) -> dict[str, Any]:
    """Give each head that is given by name those parameters that it has."""
    named = {name: head for name, head in given.items() if isinstance(head, str)}
    full_names = {
        name: parameter_names(make_head(head, many_rows=many_rows)) for name, head in named.items()
    }
    if params and not named:
        raise _params_of_classifiers(params)
    for key in params:
        if not any(key in of_head for of_head in full_names.values()):
            every = dict.fromkeys(param for of_head in full_names.values() for param in of_head)
            form = " in the form for many rows (see --scale-from)" if many_rows else ""
            raise unknown_name(f"parameter of {', '.join(named)}{form}", key, short_names(every))
    return {
        name: {key: value for key, value in params.items() if key in full_names[name]}
        for name in named
    }


def check_heads(heads: Heads, params: Mapping[str, Any] | None) -> bool:
    """Check heads and their parameters before the number of training rows is known.

    Parameters
    ----------
    heads, params
        See `make_heads`.

    Returns
    -------
    bool
        Whether only the forms for many rows have all these parameters.

    Raises
    ------
    ParameterError
        If neither the usual heads nor their forms for many rows can be created.
    """
    return _only_for_many_rows(lambda many_rows: make_heads(heads, params, many_rows=many_rows))


def check_one_head(head: OneHead, params: Mapping[str, Any] | None) -> None:
    """Check a head and its parameters before the number of training rows is known.

    Parameters
    ----------
    head, params
        See `make_one_head`.

    Raises
    ------
    ParameterError
        If neither the usual head nor its form for many rows can be created.
    """
    _only_for_many_rows(lambda many_rows: make_one_head(head, params, many_rows=many_rows))


def _only_for_many_rows(make: Callable[[bool], object]) -> bool:
    """Return whether a function of `many_rows` fails for False only; raise its error for both."""
    try:
        make(False)
    except ParameterError as error:
        try:
            make(True)
        except ParameterError:
            raise error from None
        return True
    return False


def report_missing_params(
    heads: Heads, params: Mapping[str, Any] | None, many_rows: bool = False
) -> None:
    """Log which heads that are given by name lack a parameter, so that they stay as they are.

    Parameters
    ----------
    heads, params, many_rows
        See `make_heads`.

    Raises
    ------
    ParameterError
        If no head has a parameter.
    """
    given = named_heads(heads)
    own = _own_params(given, params or {}, many_rows)
    for key in params or {}:
        without = [name for name in own if key not in own[name]]
        if without and key == "class_weight":  # such a comparison is unfair
            logger.warning("class_weight: %s have none", ", ".join(without))
        elif without:
            logger.info("%s: no parameter of %s, which stay as they are", key, ", ".join(without))


def _params_of_classifiers(params: Mapping[str, Any]) -> ParameterError:
    return ParameterError(
        f"params has {', '.join(params)}, but no head is given by name; set the parameters of a "
        "classifier when you create it"
    )


def make_one_head(
    head: OneHead,
    params: Mapping[str, Any] | None = None,
    random_state: int | None = 0,
    *,
    many_rows: bool = False,
) -> tuple[str, BaseEstimator]:
    """Create one head, and return it with its name.

    Parameters
    ----------
    head : str or scikit-learn classifier
        See `make_heads`.
    params : mapping, optional
        Parameters of a head that is given by name, see `make_head`. The head must have all of them.
    random_state : int or None
        Seed of a head that is given by name.
    many_rows : bool, default False
        See `make_heads`.

    Returns
    -------
    name : str
        Name of the head, as in `make_heads`.
    head : scikit-learn classifier
        Head before its fit. A given classifier is cloned.

    Raises
    ------
    ParameterError
        See `make_heads`; also if there are parameters for a given classifier.

    Examples
    --------
    >>> make_one_head("svm")[0]
    'rbf-svm'
    """
    params = params or {}
    if isinstance(head, str):
        made = make_head(head, random_state=random_state, many_rows=many_rows, **params)
        return ALIASES.get(head, head), made
    name = class_name(check_classifier(head, "head"))
    if params:
        raise _params_of_classifiers(params)
    return name, with_named_weights(clone(head))
