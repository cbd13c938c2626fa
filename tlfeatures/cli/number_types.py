"""Numbers as values of options. The error for a wrong value says which numbers are possible."""

from __future__ import annotations

from typing import Any

import click


class WholeNumber(click.IntRange):
    """A whole number from a least value on; a largest value may be given, too."""

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Return the number."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not a whole number{_bounds(self)}", param, ctx)


class AnyWholeNumber(click.ParamType):  # type: ignore[type-arg]
    """A whole number, also a negative one."""

    # A range without bounds would be `x<=None` in the help.
    name = "integer"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Return the number."""
        try:
            return click.INT.convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not a whole number", param, ctx)


class Share(click.FloatRange):
    """A number from 0 to 1."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the number."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not a number{_bounds(self)}", param, ctx)


def _bounds(of: click.IntRange | click.FloatRange) -> str:
    return f" of at least {of.min}" if of.max is None else f" from {of.min} to {of.max}"
