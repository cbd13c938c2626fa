"""A page as one HTML file: its template is filled with the contents; it requests nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import metadata, resources
from typing import Any

PAGE = "tlfeatures.reports.page"  # the page of a benchmark; all pages have its style and script


def render(package: str, name: str, contents: Mapping[str, Any]) -> str:
    """Fill the template of a page.

    Parameters
    ----------
    package : str
        Package with the template `NAME.html`, the script `NAME.js`, and `NAME.css` if the page has
        a style besides that of all pages.
    name : str
        Name of the page.
    contents : mapping
        Variables of the template.

    Returns
    -------
    str
        HTML. Texts are escaped. Its policy allows its own script, no other one, and no request.
    """
    style = _part(PAGE, "page.css")
    if package != PAGE:
        style += _part(package, f"{name}.css")
    script = _part(PAGE, "shared.js") + _part(package, f"{name}.js")
    html: str = _template(package, f"{name}.html").render(
        **contents,
        style=style,
        script=script,
        policy=_policy(script),
        version=metadata.version("tlfeatures"),
    )
    return html


@cache
def _template(package: str, name: str) -> Any:
    """Compile a template once: a page is filled without its pictures, and then with them."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(name)


def _part(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Give the policy: no requests, pictures from the page itself, one script by its hash."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Figures carry inline styles. No base and no form target, so that nothing leads elsewhere.
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
