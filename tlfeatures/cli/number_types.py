"""Numbers as values of options. The error for a wrong value says which numbers are possible."""

from __future__ import annotations

from typing import Any

import click


class WholeNumber(click.IntRange):
    """A whole number, of which the least and the largest value may be given."""

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Return the number."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not a whole number{_bounds(self.min, self.max)}", param, ctx)


class Number(click.FloatRange):
    """A number, of which the least and the largest value may be given."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the number."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not a number{_bounds(self.min, self.max)}", param, ctx)


def _bounds(least: float | None, most: float | None) -> str:
    if least is None:
        return ""
    return f" of at least {least}" if most is None else f" from {least} to {most}"
