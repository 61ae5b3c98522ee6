"""What the pages of all reports are rendered with."""

from __future__ import annotations

from pathlib import Path

import jinja2

from lm.common.progress import quantity

REPORT = "report.html"


def environment() -> jinja2.Environment:
    """Returns the templates of this folder; a name that a page does not know is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"quantity": quantity, "count": lambda value: f"{value:,}", "percent": _percent}
    return environment


def _percent(share: float) -> str:
    return f"{100 * share:.3g}"
