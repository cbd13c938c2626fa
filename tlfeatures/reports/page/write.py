"""Contents and template become one file that needs nothing else, and asks for nothing else."""

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
        HTML. Texts are escaped; its policy allows this very script, no other one, and no request.
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
    """No request of any kind; pictures out of the page itself; one script, told by its hash."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Figures carry inline styles. An empty base and form target: nothing to lead elsewhere.
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
