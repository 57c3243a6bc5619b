"""The page: one self-contained HTML file, everything escaped, nothing fetched.

The content security policy allows this page's own style and script by their hashes and forbids every
other source, so that even text that slipped through escaping could neither run nor call home.
"""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup

from kit.pages import page_environment
from kit.report.formatting import visible
from kit.report.view import View

TEMPLATES = Path(__file__).parent / "templates"

_MARKS = {
    "passed": "✓",
    "failed": "✕",
    "not enough evidence": "?",
    "invalid": "!",
    "compared": "=",
    "supported": "✓",
    "not supported": "✕",
    "not testable": "–",
    "improved": "▲",
    "worse": "▼",
    "not shown": "·",
    "kept": "✓",
    "lost": "▼",
    "too few to test": "·",
    "held": "✓",
    "regressed": "▼",
    "no regression": "✓",
    "not compared": "–",
    "win": "✓",
    "no win": "✕",
}


def page(view: View) -> str:
    """The report as one HTML document."""
    return render("report.html.j2", view.names.heads, view=view)


def render(template: str, heads: Mapping[str, str], **values: object) -> str:
    """A template as one self-contained document.

    Args:
        heads: what stands in tables and legends in the place of some words, such as Base.
        values: what the template shows.
    """
    style, script = _joined("report.css", "reviews.css"), _joined("report.js", "reviews.js")
    environment = page_environment(TEMPLATES, finalize=_plain)
    environment.filters["kind"] = kind
    environment.filters["mark"] = mark
    environment.filters["drawing"] = Markup
    environment.filters["system"] = lambda text: heads.get(text, text)
    return environment.get_template(template).render(
        **values,
        style=Markup(style),  # noqa: S704  # our own file
        script=Markup(script),  # noqa: S704  # our own file
        policy=content_security_policy(style, script),
    )


def _joined(*names: str) -> str:
    return "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)


def content_security_policy(style: str, script: str) -> str:
    """The policy that lets exactly this style and this script act."""
    return (
        f"default-src 'none'; style-src '{_source(style)}'; script-src '{_source(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def kind(status: str) -> str:
    """A status as a class name: not enough evidence -> not-enough-evidence."""
    return status.replace(" ", "-")


def mark(status: str) -> str:
    """The sign beside a status, so that its meaning never rests on colour."""
    return _MARKS.get(status, "·")


def _plain(value: object) -> object:
    """Spell out deceptive characters in every text; our own markup is left as it is."""
    return visible(value) if type(value) is str else value


def _source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"sha256-{digest}"
