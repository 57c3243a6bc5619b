"""The page is well formed, fetches nothing, and treats all text from data and models as text."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hostile import build_hostile
from markdown_it import MarkdownIt
from report_samples import Sample

from kit.report.build import write_report
from kit.report.html import TEMPLATES

VOID = {"meta", "input", "br", "line", "circle", "path"}
FETCHING = {"src", "srcset", "href", "action", "formaction", "data", "poster", "background", "xlink:href"}


class Page(HTMLParser):
    """Collects elements, attributes and text, and checks that every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


@pytest.fixture
def page(sample: Sample) -> Page:
    return Page((write_report(*sample.arguments).folder / "report.html").read_text("utf-8"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a project in which every text that can be foreign is hostile."""
    sample = build_hostile(tmp_path_factory.mktemp("hostile"))
    return write_report(*sample.arguments).folder


def test_the_page_is_well_formed_and_fetches_nothing(page: Page) -> None:
    for tag, name, value in page.attributes:
        if name in FETCHING:
            assert tag == "a" and value.startswith("#"), (tag, name, value)
    assert "link" not in page.tags and "iframe" not in page.tags
    assert not re.search(r"url\(|@import", (TEMPLATES / "report.css").read_text("utf-8"))


def test_every_link_of_the_navigation_leads_somewhere(page: Page) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in page.values("href")} <= set(ids)


def test_only_our_own_script_and_style_may_act(sample: Sample) -> None:
    text = (write_report(*sample.arguments).folder / "report.html").read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    allowed = policy[1].replace("&#39;", "'")
    assert allowed.startswith("default-src 'none';")
    for tag in ("style", "script"):
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
        assert len(found) == 1
        digest = base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in allowed


def test_no_inline_style_or_handler_that_the_policy_would_block(page: Page) -> None:
    assert page.values("style") == []
    assert [name for _, name, _ in page.attributes if name.startswith("on")] == []


def test_hostile_text_is_shown_and_never_acts(hostile: Path) -> None:
    page = Page((hostile / "report.html").read_text("utf-8"))

    assert page.tags.count("script") == 1 and page.tags.count("style") == 1
    assert not {"img", "link", "iframe"} & set(page.tags)
    assert [name for _, name, _ in page.attributes if name.startswith("on")] == []
    assert all(value.startswith("#") for value in page.values("href"))
    text = "".join(page.text)
    assert "</script></style><script>alert('x')</script>" in text
    assert "{{ 7 * 7 }}" in text


def test_direction_overrides_and_control_characters_are_made_visible(hostile: Path) -> None:
    for face in ("report.html", "report.md", "MODEL_CARD.md"):
        text = (hostile / face).read_text("utf-8")
        assert "⟦U+202E⟧gnp.exe" in text, face
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", text), face


@pytest.mark.parametrize("face", ["report.md", "MODEL_CARD.md"])
def test_hostile_text_stays_text_in_markdown(hostile: Path, face: str) -> None:
    text = (hostile / face).read_text("utf-8").split("\n---\n")[-1]
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = parser.parse(text)
    inline = [child for token in tokens for child in token.children or []]

    assert [token.content for token in tokens if token.type == "html_block"] == []
    assert {child.content for child in inline if child.type == "html_inline"} <= {"<br>"}
    assert [child.type for child in inline if child.type in ("link_open", "image")] == []
    assert "@everyone" not in "".join(child.content for child in inline if child.type == "text")
    headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert "heading" not in headings


def test_hostile_text_breaks_no_markdown_table(hostile: Path) -> None:
    for face in ("report.md", "MODEL_CARD.md"):
        block: list[str] = []
        for line in [*(hostile / face).read_text("utf-8").splitlines(), ""]:
            if line.startswith("|"):
                block.append(line)
            elif block:
                assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block}) == 1, block
                block = []


def test_plots_have_names_and_tables_have_captions_and_scopes(page: Page) -> None:
    named = [value for tag, name, value in page.attributes if tag == "svg" and name == "aria-label"]
    assert len(named) == page.tags.count("svg") > 0 and all(named)
    assert page.tags.count("table") == page.tags.count("caption")
    assert set(page.values("scope")) == {"row", "col", "rowgroup"}
    assert page.tags.count("main") == page.tags.count("nav") == page.tags.count("h1") == 1


def test_headings_skip_no_level_and_every_section_is_named(page: Page) -> None:
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    named = [(tag, name) for tag, name, _ in page.attributes if tag == "section" and name.startswith("aria-")]
    assert len(named) == page.tags.count("section")
    assert page.values("lang") == ["en"] and "skip" in page.values("class")


def test_every_plot_is_described_and_has_a_table_beneath(page: Page) -> None:
    order = [tag for tag in page.tags if tag in ("svg", "desc", "table", "section")]
    assert order.count("svg") == order.count("desc")
    shapes = " ".join(tag for tag in order if tag != "desc")
    for section in shapes.split("section"):
        # A plot is drawn twice, for wide pages and for phones; no other plot comes before its table.
        assert re.fullmatch(r"\s*(table )*(svg svg table (table )*)*\s*", section + " "), section


def test_the_page_follows_the_reviewers_order(page: Page) -> None:
    wanted = [
        "verdict",
        "gates",
        "claims",
        "changes",
        "scores",
        "two-sided",
        "slices",
        "transcripts",
        "misses",
    ]
    wanted += ["data", "training", "latency", "conditions", "limits"]
    found = [value for tag, name, value in page.attributes if (tag, name) == ("section", "id")]
    assert [name for name in found if name in wanted] == wanted
    assert "radar" not in "".join(page.text).lower()
