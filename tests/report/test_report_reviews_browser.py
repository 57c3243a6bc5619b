"""A reviewer in a real browser: answers are marked, and the file that is downloaded goes into the project."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from chromium import Chromium, starts
from saved_project import add_evaluation, read_lines

from kit.report.pdf import find_browser

Run = Callable[..., tuple[int, str, str]]
SECONDS = 20


def downloaded(folder: Path) -> Path:
    """The file, once the browser has written it whole."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found = [path for path in folder.glob("*") if path.suffix == ".jsonl"]
        if found:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"nothing was downloaded in {SECONDS} seconds")


def test_answers_are_marked_and_the_file_is_added(project: Path, casekit: Run, tmp_path: Path) -> None:
    browser = find_browser()
    if browser is None or not starts(browser, tmp_path / "first"):
        pytest.skip("no Chromium or Chrome that starts on this machine: the page was not clicked")
    add_evaluation(project, "second", faults=0.3, seed=2)
    casekit("report", "--evaluation", "second")
    page = project / "reports/second/report.html"
    note = 'promises 8% </script><b>"x"'
    with Chromium(browser, tmp_path / "profile") as chromium:
        chromium.open(page)
        assert chromium.evaluate("document.getElementById('review-desk').hidden") is False
        chromium.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "down"))
        chromium.evaluate("document.querySelectorAll('.transcript').forEach((one) => { one.open = true; })")
        shown = chromium.evaluate(
            "[...document.querySelectorAll('.review')].map((one) => [one.dataset.id, one.dataset.decoding])"
        )
        miss = next(place for place in shown if shown.count(place) == 2)  # a regression and a safety miss
        first = f".review[data-id='{miss[0]}'][data-decoding='{miss[1]}']"
        chromium.click(f"{first} button[data-verdict=reject]")
        pressed = f"[...document.querySelectorAll(\"{first} button[aria-pressed='true']\")].length"
        assert chromium.evaluate(pressed) == 2, "both places show the one verdict"
        assert "your name is missing" in chromium.evaluate(
            "document.getElementById('review-count').textContent"
        )
        assert chromium.evaluate("document.getElementById('review-download').hidden") is True
        chromium.click(f"{first} input")
        chromium.type(note)
        chromium.click("#reviewer")
        chromium.type("Ann Lee")
        other = next(place for place in shown if place != miss)
        second = f".review[data-id='{other[0]}'][data-decoding='{other[1]}'] button[data-verdict=accept]"
        chromium.click(second)
        chromium.click(second)
        chromium.click(second)  # marked, taken back, marked again
        chromium.click("#review-download")
        found = downloaded(tmp_path / "down")
        assert chromium.complaints() == []

    assert casekit("review", "--add", str(found))[0] == 0
    rejected, accepted = read_lines(project / "reviews.jsonl")
    assert (rejected["id"], rejected["decoding"], rejected["verdict"]) == (*miss, "reject")
    assert (rejected["note"], rejected["reviewer"]) == (note, "Ann Lee")
    assert (accepted["id"], accepted["verdict"]) == (other[0], "accept")
    casekit("report", "--evaluation", "second")
    counted = json.loads((project / "reports/second/report.json").read_text())["reviews"]
    assert (counted["accepted"], counted["rejected"], counted["changed"]) == (1, 1, 0), "the hashes agree"
    assert "&lt;/script&gt;&lt;b&gt;" in page.read_text()
