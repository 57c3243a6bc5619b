"""How templates become HTML: all text is escaped, and a name that is not given is an error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def page_environment(templates: Path, finalize: Callable[[Any], Any] | None = None) -> Environment:
    """Jinja's environment for a folder of templates.

    Args:
        finalize: applied to every value before it is escaped.
    """
    return Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
