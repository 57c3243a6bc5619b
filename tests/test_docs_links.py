"""Every relative link and picture of the documentation leads somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "kit").rglob("README.md")),
]
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]+)?\)")


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    found = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", text.casefold()).strip().replace(" ", "-") for text in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        place = (page.parent / target).resolve()
        assert place.exists(), f"{target} is not there"
        if anchor and place.suffix == ".md":
            assert anchor[1:] in headings(place), f"{target} has no heading {anchor}"


def test_the_list_of_pages_names_each() -> None:
    docs = ROOT / "docs"
    listed = {target for target, _ in LINK.findall((docs / "README.md").read_text(encoding="utf-8"))}
    pages = {page.relative_to(docs).as_posix() for page in docs.rglob("*.md")} - {"README.md"}
    assert pages == listed
