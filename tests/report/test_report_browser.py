"""The report in a real browser: hostile rows do nothing; it can be searched, opened and read by keyboard."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium, starts
from hostile import TRAPS, build_hostile, severities
from report_samples import Sample, build

from kit.data.rows import Row
from kit.data.write import write_split
from kit.report.build import write_report
from kit.report.pdf import find_browser, print_pdf

WHY_SKIPPED = "no Chromium or Chrome on this machine (or named by CASEKIT_BROWSER): the page was not opened"
MEGABYTE = "a very long answer " * 55_000

SHOWN = "[...document.querySelectorAll('.transcript')].filter((one) => one.checkVisibility())"

UNREADABLE = """
(() => {
  for (const one of document.querySelectorAll("details")) one.open = true;
  const parse = (text) => {
    const parts = text.match(/[\\d.]+/g).map(Number);
    return parts.length === 3 ? [...parts, 1] : parts;
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255, 1];
  };
  const found = [];
  let looked = 0;
  for (const element of document.querySelectorAll("body *")) {
    const says = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const unseen = ["SCRIPT", "STYLE", "title", "desc"].includes(element.tagName);
    if (!says || unseen || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const front = parse(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(front.slice(0, 3)), light(behind(element).slice(0, 3))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    looked += 1;
    const name = element.className.baseVal ?? element.className;
    if (ratio < 4.5) found.push([name, element.textContent.slice(0, 40), ratio]);
  }
  return [looked, found];
})()
"""
"""Texts whose contrast with what lies behind them is under WCAG's 4.5 to 1, and how many were looked at."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    path = find_browser()
    if path is None:
        pytest.skip(WHY_SKIPPED)
    if not starts(path, tmp_path_factory.mktemp("first")):
        pytest.skip(f"{path} does not start here: the page was not opened")
    with Chromium(path, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report in which every text is a trap, one answer is a megabyte long, and the training data too."""
    sample = build_hostile(tmp_path_factory.mktemp("hostile"), prompts=40, text=TRAPS)
    scores = sample.scores()
    for place, item in enumerate(scores["items"]):
        base, tuned = (float(place % 2), float(1 - place % 2))
        item["greedy"]["base"]["scores"] = {"violation_rate": base}
        item["greedy"]["tuned"]["scores"] = {"violation_rate": tuned}
    scores["items"][0]["greedy"]["tuned"]["output"] = MEGABYTE + TRAPS
    sample.change_scores(items=scores["items"])
    messages = [{"role": "user", "content": TRAPS}, {"role": "assistant", "content": TRAPS}]
    write_split([Row(TRAPS, 1, messages, {})], sample.prepared / "train", sample.config)
    return write_report(*sample.arguments).folder / "report.html"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A usual report: a few regressions, many gains, safety misses."""
    sample = build(tmp_path_factory.mktemp("plain"), prompts=120)
    with_misses(sample)
    return write_report(*sample.arguments).folder / "report.html"


def with_misses(sample: Sample) -> None:
    """Make F1 a critical rule."""
    metrics = sample.scores()["metrics"]
    metrics[0]["severities"] = severities({"F1": 3})
    sample.change_scores(metrics=metrics)


def test_hostile_rows_do_nothing_in_a_browser(browser: Chromium, hostile: Path) -> None:
    browser.open(hostile)

    for control in ("#filter-open", ".transcript summary", "nav a"):
        browser.click(control)
    browser.evaluate("document.querySelectorAll('*').forEach((one) => one.dispatchEvent(new Event('focus')))")

    assert browser.evaluate("typeof window.pwned") == "undefined"
    assert (
        browser.evaluate(
            "document.querySelectorAll('img, iframe, base, [autofocus], [onload], [onfocus]').length"
        )
        == 0
    )
    assert browser.evaluate("[...document.links].every((one) => one.getAttribute('href').startsWith('#'))")
    assert browser.complaints() == [], "neither errors nor violations of the page's own policy"
    assert browser.requests() == [hostile.as_uri()]
    assert browser.evaluate(f"{SHOWN}.length") > 0, "no style of the data hides anything"
    assert "⟦U+202E⟧esrever" in browser.evaluate("document.body.textContent")
    assert hostile.stat().st_size < 3_000_000


def test_hostile_options_are_text(browser: Chromium, hostile: Path) -> None:
    browser.open(hostile)
    offered = browser.evaluate(
        "[...document.querySelectorAll('#filter-reason option')].map((one) => one.value)"
    )
    assert offered[0] == "" and "<script>window.pwned" in offered[1]
    assert browser.evaluate("document.querySelectorAll('select *:not(option)').length") == 0


def test_search_and_filters_leave_what_matches(browser: Chromium, plain: Path) -> None:
    browser.open(plain)
    every = browser.evaluate(f"{SHOWN}.length")

    browser.click("#filter-text")
    browser.type("Harbour savings")

    matching = browser.evaluate(f"{SHOWN}.map((one) => one.textContent)")
    assert 0 < len(matching) < every
    assert all("harbour savings" in text.lower() for text in matching)
    assert browser.evaluate("document.getElementById('filter-count').textContent") == (
        f"{len(matching)} of {every} shown"
    )
    assert browser.evaluate("document.getElementById('filter-count').getAttribute('role')") == "status"
    browser.evaluate("document.getElementById('filter-text').value = ''")
    for name, value, wanted in (
        ("kind", "miss", "one.dataset.kind === 'miss'"),
        ("slice", "tone: pushy", "one.textContent.includes('tone: pushy')"),
        ("reason", "F1", "[...one.querySelectorAll('.reason')].some((part) => part.textContent === 'F1')"),
    ):
        choose(browser, name, value)
        assert 0 < browser.evaluate(f"{SHOWN}.length") < every, name
        assert browser.evaluate(f"{SHOWN}.every((one) => {wanted})"), name
        choose(browser, name, "")
    assert browser.evaluate(f"{SHOWN}.length") == every


def choose(browser: Chromium, name: str, value: str) -> None:
    browser.evaluate(
        f"(() => {{ const one = document.getElementById('filter-{name}'); one.value = '{value}';"
        " one.dispatchEvent(new Event('input')); })()"
    )


def test_details_open_by_mouse_and_by_keyboard(browser: Chromium, plain: Path) -> None:
    browser.open(plain)
    is_open = "document.querySelector('#scores details').open"

    browser.click("#scores details summary")
    assert browser.evaluate(is_open)
    browser.evaluate("document.querySelector('#scores details summary').focus()")
    browser.press("Enter")
    assert not browser.evaluate(is_open)
    browser.press(" ")
    assert browser.evaluate(is_open)

    browser.click("#filter-close")
    assert browser.evaluate("document.querySelectorAll('.transcript[open]').length") == 0
    browser.click("#filter-open")
    assert browser.evaluate("document.querySelectorAll('.transcript:not([open])').length") == 0


def test_the_keyboard_moves_a_visible_focus_from_the_skip_link_on(browser: Chromium, plain: Path) -> None:
    browser.open(plain)
    here = "(document.activeElement.id || document.activeElement.textContent.trim().slice(0, 40))"

    browser.press("Tab")
    assert browser.evaluate("document.activeElement.className") == "skip"
    assert browser.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    visited = []
    for _ in range(24):
        browser.press("Tab")
        visited.append(browser.evaluate(here))
        assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", visited[
            -1
        ]
    assert len(set(visited)) == len(visited)
    links = browser.evaluate("document.querySelectorAll('nav a').length")
    assert links < 24, "so the walk has left the navigation"

    browser.evaluate("document.querySelector('.skip').focus()")
    browser.press("Enter")
    assert browser.evaluate("location.hash") == "#verdict"
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.closest('main') !== null"), "the navigation is skipped"


def test_without_scripts_everything_is_a_plain_list(browser: Chromium, plain: Path) -> None:
    browser.open(plain)
    every = browser.evaluate(f"{SHOWN}.length")
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(plain)
        assert browser.evaluate("document.getElementById('filter').checkVisibility()") is False
        assert browser.evaluate(f"{SHOWN}.length") == every
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_text_stands_out_and_nothing_runs_over(
    browser: Chromium, plain: Path, dark: bool, width: int
) -> None:
    browser.open(plain, width=width, dark=dark)
    looked, unreadable = browser.evaluate(UNREADABLE)
    assert looked > 300
    assert unreadable == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_paper_is_light_and_shows_what_is_closed(browser: Chromium, plain: Path, tmp_path: Path) -> None:
    browser.open(plain, dark=True)
    browser.call("Emulation.setEmulatedMedia", media="print", features=[])
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.evaluate("document.getElementById('filter').checkVisibility()") is False
    browser.call("Emulation.setEmulatedMedia", media="", features=[])
    closed = browser.evaluate("document.querySelectorAll('details:not([open])').length")
    browser.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert closed > 0 and browser.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    browser.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert browser.evaluate("document.querySelectorAll('details:not([open])').length") == closed

    print_pdf(browser.browser, plain, tmp_path / "report.pdf")

    printed = (tmp_path / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF") and printed.count(b"/Type /Page\n") > 5
