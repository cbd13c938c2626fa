"""Small HTML tables for `_repr_html_`, with which a notebook shows a result.

The tables look like those of the report page, in light and in dark. A notebook may have a theme of
its own (JupyterLab, VS Code, Colab, Sphinx). The rules of these themes come after the rule for the
theme of the operating system, and are more specific. The background is drawn too, so that the text
is readable in hosts that don't say which theme they have.

All texts are data and are escaped. Long tables and texts are cut, so that the HTML of a result has
a bounded size.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from tlfeatures.names import number, shortened

Cell = str | int | float | tuple[str, str] | None
"""Value of a cell; a pair is a text, and a smaller text below it."""

MOST_ROWS = 10  # rows of a table that are shown
_SHORT = 22  # characters of a text that is not broken into lines
_LONGEST, _LONGEST_PROSE = 200, 1000  # characters of a text that are shown

_LIGHT = (
    "--ink: #1f2328; --muted: #57606a; --grid: #d8dde3; --paper: #ffffff; --accent: #0a5ca8; "
    "--warn: #8a3800; color-scheme: light;"
)
_DARK = (
    "--ink: #e6e9ee; --muted: #a3adb9; --grid: #39414c; --paper: #14171c; --accent: #7cbcff; "
    "--warn: #ffb27a; color-scheme: dark;"
)
_LIGHT_THEMES = (
    '[data-jp-theme-light="true"]',
    ".vscode-light",
    ".vscode-high-contrast-light",
    '[data-theme="light"]',
    "html[theme=light]",
)
_DARK_THEMES = (
    '[data-jp-theme-light="false"]',
    ".vscode-dark",
    ".vscode-high-contrast:not(.vscode-high-contrast-light)",
    '[data-theme="dark"]',
    "html[theme=dark]",
)

# `&` stands for the element around a result. Its class is repeated, because rules of notebooks for
# tables, such as those of JupyterLab, are specific, too.
_RULES = """
& {
  background: var(--paper); color: var(--ink); padding: 8px 12px; border-radius: 5px;
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  max-width: 72rem; box-sizing: border-box; overflow-wrap: anywhere; text-align: left;
}
& p { margin: 4px 0; max-width: 46rem; color: inherit; }
& p.tlf-title { font-size: 1.1em; }
& p.tlf-note { color: var(--muted); font-size: .875em; }
& p.tlf-warning { color: var(--warn); font-weight: 600; }
& .tlf-scroll { overflow-x: auto; margin: 8px 0; max-width: 100%; }
& .tlf-scroll:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
& table {
  border: 0; border-collapse: collapse; margin: 0; table-layout: auto; width: auto;
  background: none; color: inherit; font-variant-numeric: tabular-nums; font-size: .93em;
}
& tr, & tbody tr { background: none; border: 0; }
& th, & td {
  padding: 4px 14px 4px 0; text-align: left; vertical-align: top; max-width: 26rem;
  border: 0; border-bottom: 1px solid var(--grid); background: none; line-height: 1.4;
  white-space: normal; font-weight: 400; overflow-wrap: break-word; unicode-bidi: isolate;
}
& thead th { font-weight: 600; vertical-align: bottom; }
& .tlf-short, & .tlf-below { white-space: nowrap; }
& .tlf-medium { min-width: 8rem; }
& .tlf-long { min-width: 14rem; }
& .tlf-below { display: block; color: var(--muted); font-size: .88em; }
& dl {
  display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: 2px 16px;
  margin: 6px 0; font-size: .93em;
}
& dt, & dd { float: none; clear: none; width: auto; min-width: 0; margin: 0; padding: 0; }
& dt { color: var(--muted); font-weight: 400; }
"""
_ROOT = ".tlf-result.tlf-result.tlf-result"


def _lines(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def _style() -> str:
    light = ", ".join(f"{theme} .tlf-result" for theme in _LIGHT_THEMES)
    dark = ", ".join(f"{theme} .tlf-result" for theme in _DARK_THEMES)
    rules = [
        f".tlf-result {{ {_LIGHT} }}",
        f"@media (prefers-color-scheme: dark) {{ .tlf-result {{ {_DARK} }} }}",
        f"{light} {{ {_LIGHT} }}",
        f"{dark} {{ {_DARK} }}",
        f"@media print {{ {_ROOT} {{ {_LIGHT} }} }}",
        _RULES.strip().replace("&", _ROOT),
    ]
    return _lines("<style>", *rules, "</style>")


_STYLE = _style()


def result_html(title: str, *parts: str, about: str = "") -> str:
    """Return the HTML of a result: its title, and parts below it.

    Parameters
    ----------
    title : str
        What the result is, such as "Dataset". It is printed in bold.
    *parts : str
        HTML of this module's functions; empty ones are left out.
    about : str
        What a person wants to know first, after the title.
    """
    text = f": {escaped(about)}" if about else ""
    head = f'<p class="tlf-title"><strong>{escaped(title)}</strong>{text}</p>'
    return _lines(_STYLE, '<div class="tlf-result">', head, *parts, "</div>")


def text_html(text: str, kind: str = "") -> str:
    """Return a paragraph; nothing if the text is empty.

    Parameters
    ----------
    text : str
    kind : {"", "note", "warning"}
    """
    name = f' class="tlf-{kind}"' if kind else ""
    return f"<p{name}>{escaped(text, _LONGEST_PROSE)}</p>" if text else ""


def facts_html(facts: Mapping[str, Cell]) -> str:
    """Return a list of names and values. Values that are None or empty are left out."""
    rows = [
        f"<dt>{escaped(name)}</dt><dd><bdi>{_text_of(value)}</bdi></dd>"
        for name, value in facts.items()
        if value is not None and value != ""
    ]
    return _lines("<dl>", *rows, "</dl>") if rows else ""


def table_html(
    header: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    caption: str = "",
    total: int | None = None,
    most: int = MOST_ROWS,
) -> str:
    """Return a table. After the first rows, it says how many more there are.

    Parameters
    ----------
    header : sequence of str
        Titles of the columns.
    rows : iterable of sequence of cell
        Rows. Their first cell is the name of the row.
    caption : str
        Title of the table.
    total : int, optional
        Number of rows, if `rows` gives only the first ones.
    most : int
        Number of rows that are shown.
    """
    if total is None:
        rows = list(rows)
        total = len(rows)
    shown = [_row_html(row) for row in islice(rows, most)]
    if not shown:
        return ""
    label = escaped(caption or ", ".join(header))
    titles = "".join(f'<th scope="col">{escaped(name)}</th>' for name in header)
    more = total - len(shown)
    return _lines(
        text_html(caption, "note"),
        f'<div class="tlf-scroll" role="group" aria-label="{label}" tabindex="0">',
        "<table>",
        f"<thead><tr>{titles}</tr></thead>",
        "<tbody>",
        *shown,
        "</tbody>",
        "</table>",
        "</div>",
        text_html(f"... and {more:,} more", "note") if more > 0 else "",
    )


def _row_html(row: Sequence[Cell]) -> str:
    first, *others = row
    cells = "".join(f"<td{_class_of(value)}>{_text_of(value)}</td>" for value in others)
    return f'<tr><th scope="row"{_class_of(first)}>{_text_of(first)}</th>{cells}</tr>'


def _class_of(value: Cell) -> str:
    """Short texts and numbers are not broken into lines; longer texts get some width."""
    text = value[0] if isinstance(value, tuple) else value
    length = len(text) if isinstance(text, str) else 0
    width = "short" if length <= _SHORT else "medium" if length <= 2 * _SHORT else "long"
    return f' class="tlf-{width}"'


def _text_of(value: Cell) -> str:
    if isinstance(value, tuple):
        text, below = value
        small = f'<span class="tlf-below">{escaped(below)}</span>' if below else ""
        return escaped(text) + small
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return escaped(str(value))
    return f"{value:,}" if isinstance(value, int) else number(value)


def escaped(text: str, longest: int = _LONGEST) -> str:
    """Return a text as HTML, without characters that can't be shown, and cut in the middle."""
    return html.escape(shortened(text, longest))
