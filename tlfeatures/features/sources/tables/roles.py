"""Which column of a table has which role: the path of the image, its label, its box and others.

The first usual name of a role is its plain name. It wins over the others. Another name is logged,
because the column may mean something else, and two of them are an error, because only the user
knows which one is meant. Case, blanks, hyphens and underscores in usual names don't matter.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.features.sources.tables.cells import RawTable
from tlfeatures.names import some_of

logger = logging.getLogger(__name__)

_USUAL: dict[str, tuple[str, ...]] = {
    "id": (
        *("id", "path", "file", "filename", "filepath", "image", "imagepath", "imagefile"),
        *("imagename", "imagefilename", "img", "imgpath", "imgname", "photo", "picture"),
        "relativepath",
    ),
    "label": ("label", "class", "classname", "species", "category", "target", "choice"),
    "group": (
        *("group", "site", "location", "patient", "patientid", "subject", "subjectid"),
        *("sequence", "sequenceid", "seqid", "video", "videoid"),
    ),
    "split": ("split",),
    "x": ("x", "left", "bboxx", "boxx"),
    "y": ("y", "top", "bboxy", "boxy"),
    "width": ("width", "w", "bboxwidth", "bboxw", "boxwidth", "boxw"),
    "height": ("height", "h", "bboxheight", "bboxh", "boxheight", "boxh"),
}
ROLES = tuple(_USUAL)
BOX_ROLES = ("x", "y", "width", "height")

# Other forms of boxes; --columns can't name them.
_OTHER_BOXES = {
    "bbox": ("bbox", "box", "boundingbox"),
    "xmin": ("xmin", "x1", "left"),
    "ymin": ("ymin", "y1", "top"),
    "xmax": ("xmax", "x2", "right"),
    "ymax": ("ymax", "y2", "bottom"),
}
CORNER_ROLES = ("xmin", "ymin", "xmax", "ymax")
_MAY_BE_NONE = ("label", "group", "split", *BOX_ROLES)  # roles that `ROLE=` leaves out
_MOST_NAMED = 20  # columns in a message
_SEPARATORS = re.compile(r"[\s_-]+")


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a table.

    Attributes
    ----------
    needed, optional : sequence of str
        Roles, without those of boxes.
    columns : mapping of role to the name of its column
        Names that differ from the usual ones; case is ignored. An empty name means that no column
        has this role.
    also_usual : sequence of str
        Roles whose usual column is used if the column in `columns` is missing.
    """

    needed: Sequence[str] = ("id",)
    optional: Sequence[str] = ("label", "group", "split")
    columns: Mapping[str, str] = field(default_factory=dict)
    also_usual: Sequence[str] = ()


def check_columns(columns: Mapping[str, str] | None) -> None:
    """Raise `ParameterError` if `columns` has an unknown role, or a name that is no text."""
    for role, name in (columns or {}).items():
        is_text = isinstance(name, str)
        if role in ROLES and is_text and (normalize_name(name) or (not name and role != "id")):
            continue
        raise ParameterError(
            f"columns has {role!r}: {name!r}; expected the name of a column for any of "
            f"{', '.join(ROLES)}, for example id=filename,label=species"
        )


def names_of_columns(wanted: Wanted) -> set[str]:
    """Return the names, in lower case, that the wanted columns may have."""
    given = {normalize_name(name).casefold() for name in wanted.columns.values()}
    return given.union(*(_USUAL[role] for role in (*wanted.needed, *wanted.optional)))


def may_be_wanted(name: str, wanted: Wanted) -> bool:
    """Whether a column of this name may have a role, so that it must be read."""
    if normalize_name(name).casefold() in names_of_columns(wanted):
        return True
    usual = (*_USUAL.values(), *_OTHER_BOXES.values())
    return any(_key(name) in names for names in usual)


def _names_of_boxes(keys: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Return the usual names of the roles in the first form of boxes that a table has."""
    for form in (
        {role: _USUAL[role] for role in BOX_ROLES},
        {"bbox": _OTHER_BOXES["bbox"]},
        {role: _OTHER_BOXES[role] for role in CORNER_ROLES},
    ):
        if all(any(name in keys for name in usual) for usual in form.values()):
            return form
    return {}


def _key(name: str) -> str:
    return _SEPARATORS.sub("", normalize_name(name).casefold())


def choose_columns(path: str, table: RawTable, wanted: Wanted) -> dict[str, int]:
    """Choose the column of each role.

    Returns
    -------
    dict of role to int
        Position of the column. Those of boxes are `BOX_ROLES`, `CORNER_ROLES` or `bbox`.

    Raises
    ------
    SourceError
        If a needed or named column is missing, or two columns have the same name or the same role.
    """
    chooser = _Chooser(path, table, wanted)
    places = {role: chooser.place(role) for role in (*wanted.needed, *wanted.optional)}
    chosen = {role: place for role, place in places.items() if place is not None}
    boxes = chooser.box_places()
    chooser.log(chosen, boxes)
    return chosen | boxes


class _Chooser:
    """Chooses columns of one table."""

    def __init__(self, path: str, table: RawTable, wanted: Wanted) -> None:
        self._path, self._table, self._wanted = path, table, wanted
        self._header = table.header
        self._keys = [_key(name) for name in table.header]

    def place(self, role: str) -> int | None:
        """Return the position of the column of a role; None if it is optional and missing."""
        wanted = self._wanted
        name = wanted.columns.get(role)
        if name == "":
            return None
        if name is not None:
            place = self._named(name)
            if place is not None:
                return place
            usual = self._usual(role) if role in wanted.also_usual else None
            if usual is not None:
                return usual
            raise SourceError(f"{self._path} has no column {name!r}; it has {self._columns()}")
        place = self._usual(role)
        if place is None and role in wanted.needed:
            raise self._missing()
        return place

    def box_places(self) -> dict[str, int]:
        """Return the positions of the columns of boxes; empty if the table has no boxes."""
        given = [self._wanted.columns.get(role) for role in BOX_ROLES]
        if "" in given:
            return {}
        if any(given):
            found = {role: self.place(role) for role in BOX_ROLES}
            lacking = [role for role, place in found.items() if place is None]
            if lacking:
                raise SourceError(
                    f"{self._path} has no column for {', '.join(lacking)} of a box; name all of "
                    "them: --columns x=NAME,y=NAME,width=NAME,height=NAME"
                )
            return {role: place for role, place in found.items() if place is not None}
        names = _names_of_boxes(self._keys)
        places = {role: self._of_names(role, usual) for role, usual in names.items()}
        return {role: place for role, place in places.items() if place is not None}

    def log(self, chosen: Mapping[str, int], boxes: Mapping[str, int]) -> None:
        """Log which columns are taken for what, where their names leave a doubt."""
        read = [
            f"{self._header[place]} as {'path' if role == 'id' else role}"
            for role, place in chosen.items()
            if role not in self._wanted.columns and self._keys[place] not in (role, "path")
        ]
        if boxes:
            listed = ", ".join(self._header[place] for place in boxes.values())
            read.append(f"{listed} as box (--columns x= ignores it)")
        if read:
            logger.info(
                "columns of %s: %s; --columns ROLE=NAME names others",
                self._path,
                ", ".join(read),
            )

    def _usual(self, role: str) -> int | None:
        return self._of_names(role, _USUAL[role])

    def _of_names(self, role: str, usual: Sequence[str]) -> int | None:
        plain = [place for place, key in enumerate(self._keys) if key == usual[0]]
        others = [place for place, key in enumerate(self._keys) if key in usual[1:]]
        # Numbers in a column `id` count the rows where another column has file names.
        if plain and not (role == "id" and others and self._has_numbers(plain[0])):
            return self._only(role, plain)
        return self._only(role, others) if others else None

    def _named(self, name: str) -> int | None:
        wanted = normalize_name(name).casefold()
        places = [at for at, column in enumerate(self._header) if column.casefold() == wanted]
        return self._only("", places) if places else None

    def _only(self, role: str, places: Sequence[int]) -> int:
        if len(places) == 1:
            return places[0]
        names = [self._header[place] for place in places]
        if len({name.casefold() for name in names}) == 1:
            raise SourceError(
                f"{self._path} has {len(names)} columns with the name {names[0]!r}, expected one; "
                "rename the others"
            )
        none = f", or {role}= for none" if role in _MAY_BE_NONE else ""
        raise SourceError(
            f"{self._path} has the columns {' and '.join(map(repr, names))}, and each may be the "
            f"{'path' if role == 'id' else role}; choose one: --columns "
            f"{role}={names[0]}{none}"
        )

    def _has_numbers(self, place: int) -> bool:
        cells = [cells[place].strip() for _, cells in self._table.rows]
        return any(cells) and all(cell.isdecimal() for cell in cells if cell)

    def _columns(self) -> str:
        names = (*self._header, *self._table.unread)
        return f"the columns {some_of(names, _MOST_NAMED) or '(none)'}"

    def _missing(self) -> SourceError:
        needed, optional = self._wanted.needed, self._wanted.optional
        expected = " and ".join(needed)
        expected += f" (optional: {', '.join(optional)})" if optional else ""
        named = ",".join(f"{role}=NAME" for role in needed)
        return SourceError(
            f"{self._path} has {self._columns()}; expected {expected}; for columns with other "
            f"names, use --columns {named}"
        )
