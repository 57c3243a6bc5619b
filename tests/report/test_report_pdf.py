"""`casekit report --pdf` prints the page, or says clearly what is missing."""

import stat
from pathlib import Path

import pytest
from report_samples import Sample

from kit.config.errors import CasekitError, ExitCode
from kit.report import pdf
from kit.report.build import write_report


def program(path: Path, does: str) -> Path:
    """A stand-in for a browser."""
    path.write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_without_a_browser_it_is_bad_input_and_says_what_to_install(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf, "BROWSERS", ())
    monkeypatch.setattr(pdf, "_PLACES", ())
    monkeypatch.delenv("CASEKIT_BROWSER", raising=False)

    with pytest.raises(CasekitError, match="needs Chromium or Chrome") as caught:
        pdf.require_browser()

    assert caught.value.exit_code is ExitCode.BAD_INPUT
    hint = caught.value.problems[0].hint
    assert "apt install chromium" in hint and "CASEKIT_BROWSER" in hint
    assert (write_report(*sample.arguments).folder / "report.html").is_file(), "without --pdf none is needed"


def test_a_browser_that_fails_is_named_and_the_earlier_report_stays(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write_report(*sample.arguments).folder
    files = sorted(path.name for path in before.iterdir())
    broken = program(tmp_path / "broken", "echo cannot open display >&2; exit 3")
    monkeypatch.setenv("CASEKIT_BROWSER", str(broken))

    with pytest.raises(CasekitError, match="printed no PDF: cannot open display"):
        write_report(*sample.arguments, browser=pdf.require_browser())

    assert sorted(path.name for path in before.iterdir()) == files
    monkeypatch.setenv("CASEKIT_BROWSER", str(tmp_path / "nowhere"))
    with pytest.raises(CasekitError, match="is no program"):
        write_report(*sample.arguments, browser=pdf.require_browser())


def test_the_pdf_is_what_the_browser_printed_of_this_page(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = 'for one in "$@"; do case "$one" in --print-to-pdf=*) echo "%PDF $*" > "${one#*=}";; esac; done'
    monkeypatch.setenv("CASEKIT_BROWSER", str(program(tmp_path / "browser", prints)))

    folder = write_report(*sample.arguments, browser=pdf.require_browser()).folder

    asked = (folder / "report.pdf").read_text("utf-8")
    assert "--headless" in asked and asked.rstrip().endswith("/report.html")
    assert "--no-pdf-header-footer" in asked
    assert list(folder.parent.iterdir()) == [folder], "the page was printed before it was moved into place"
