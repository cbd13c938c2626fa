"""Which columns of a table (CSV, Parquet) hold ids and labels, and which hold values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlfeatures.errors import DatasetError
from tlfeatures.features.exchange.roles import FEATURES, find_parts
from tlfeatures.names import some_of

_NUMBERED = re.compile(r"(.*?)([._ -]?)(\d+)", re.DOTALL)
_INDEX = ("", "unnamed: 0", "__index_level_0__")  # pandas's numbers of rows


@dataclass(frozen=True)
class TableColumns:
    """Columns of a table.

    Attributes
    ----------
    roles : dict of role to str
        Column of each role that the table has.
    values : dict of name to list of str
        Columns of each embedding, in their order. The name "" is that of an embedding without one.
    """

    roles: dict[str, str]
    values: dict[str, list[str]]

    def unused(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the columns that have no meaning."""
        used = {*self.roles.values(), *(name for own in self.values.values() for name in own)}
        return tuple(name for name in names if name not in used)


def find_columns(
    names: Sequence[str], columns: Mapping[str, str] | None, path: Path
) -> TableColumns:
    """Find the columns of roles and of values.

    The columns of an embedding have its name and consecutive numbers, as `block5_pool.avg.0`,
    `feature_1` or `17`. If no columns are numbered, all columns without a role are values.

    Raises
    ------
    DatasetError
        If there are no columns of values, or numbers are missing.
    """
    twice = sorted({name for name in names if names.count(name) > 1}) if _repeats(names) else []
    if twice:
        raise DatasetError(f"{path} has two columns with the name {twice[0]!r}; rename one")
    roles = find_parts(names, columns, path)
    others = [name for name in names if name not in roles.values()]
    numbered = _numbered_columns(others)
    prefix = (columns or {}).get(FEATURES)
    if prefix is not None:
        stem = prefix.rstrip("._ -")
        chosen = {name: own for name, own in numbered.items() if name[0] == stem}
        if not chosen:
            raise DatasetError(f"{path} has no columns {prefix}0, {prefix}1 and so on")
        return TableColumns(roles, {"": _consecutive(next(iter(chosen.values())), path)})
    if numbered:
        return TableColumns(roles, _named(numbered, path))
    values = [name for name in others if name.casefold() not in _INDEX]
    if not values:
        raise DatasetError(
            f"{path} has the columns {some_of(names, 10)}; expected one for each value, as "
            "features.0, features.1 and so on"
        )
    return TableColumns(roles, {"": values})


def _repeats(names: Sequence[str]) -> bool:
    return len(set(names)) < len(names)


Numbered = dict[tuple[str, str], dict[int, str]]


def _numbered_columns(names: Sequence[str]) -> Numbered:
    """Return columns by the text before their number, and the sign between these."""
    found: Numbered = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match is not None:
            found.setdefault((match[1], match[2]), {})[int(match[3])] = name
    # One numbered column alone may be anything, unless it is written as this package writes it.
    return {key: own for key, own in found.items() if len(own) > 1 or (key[1] == "." and 0 in own)}


def _named(numbered: Numbered, path: Path) -> dict[str, list[str]]:
    """Return the columns of each embedding: those with a dot before the number have a name."""
    dotted = {stem: own for (stem, sign), own in numbered.items() if sign == "." and stem}
    if dotted:
        return {stem: _consecutive(own, path) for stem, own in dotted.items()}
    if len(numbered) > 1:
        stems = ", ".join(f"{stem}{sign}0" for stem, sign in numbered)
        raise DatasetError(
            f"{path} has several sets of numbered columns ({stems}); choose one with --columns "
            "features=PREFIX"
        )
    return {"": _consecutive(next(iter(numbered.values())), path)}


def _consecutive(own: Mapping[int, str], path: Path) -> list[str]:
    first = min(own)
    missing = set(range(first, first + len(own))) - set(own)
    if missing or first > 1:
        named = own[first]
        raise DatasetError(
            f"{path}: the numbers of the columns from {named!r} on have gaps; expected consecutive "
            "numbers from 0 or 1"
        )
    return [own[number] for number in sorted(own)]
