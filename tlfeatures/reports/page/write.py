"""The page as one HTML file: its template is filled with the contents; it requests nothing."""

from __future__ import annotations

import base64
import hashlib
from importlib import metadata, resources
from typing import Any

from tlfeatures.reports.drawing import style


def render(contents: dict[str, Any]) -> str:
    """Fill the template.

    Parameters
    ----------
    contents : dict
        See `tlfeatures.reports.page.contents.contents`.

    Returns
    -------
    str
        HTML. Texts are escaped. Its policy allows its own script, no other one, and no request.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tlfeatures.reports.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    script = _part("page.js")
    html: str = environment.get_template("page.html").render(
        **contents,
        style=_part("page.css"),
        script=script,
        colors=style.COLORS,
        policy=_policy(script),
        version=metadata.version("tlfeatures"),
    )
    return html


def _part(name: str) -> str:
    return resources.files("tlfeatures.reports.page").joinpath(name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Give the policy: no requests, pictures from the page itself, one script by its hash."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Figures carry inline styles. No base and no form target, so that nothing leads elsewhere.
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
