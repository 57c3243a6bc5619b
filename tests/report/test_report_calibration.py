"""Calibration in a report: accuracy by coverage as a curve with its numbers, and confidence bin by bin."""

from pathlib import Path

import numpy as np
from report_samples import build

from kit.evaluate.calibration_scores import Known, calibration_block
from kit.evaluate.compare import Settings
from kit.report.build import write_report

HOSTILE = "<script>right</script>"


def block(n: int = 200):
    """Base's confidence says nothing; tuned is right in all but its twenty least sure answers."""
    sure = np.linspace(0.3, 0.99, n)
    correct = {"base": np.arange(n) % 2 == 0, "tuned": np.arange(n) >= n // 10}
    known = Known(
        of="closed_accuracy",
        label=HOSTILE,
        confidence={"base": sure, "tuned": sure},
        correct={system: right.astype(float) for system, right in correct.items()},
        groups=[str(place) for place in range(n)],
        slices=[{} for _ in range(n)],
    )
    return calibration_block(known, Settings(0.95, 200, 0))


def test_without_confidence_there_is_no_section(tmp_path: Path) -> None:
    folder = write_report(*build(tmp_path).arguments).folder
    assert 'id="calibration"' not in (folder / "report.html").read_text("utf-8")
    assert "## Calibration" not in (folder / "report.md").read_text("utf-8")


def test_the_curve_stands_above_its_numbers(tmp_path: Path) -> None:
    sample = build(tmp_path)
    sample.change_scores(calibration=[block()])
    folder = write_report(*sample.arguments).folder
    page, markdown = ((folder / name).read_text("utf-8") for name in ("report.html", "report.md"))
    section = page[page.index('<section id="calibration"') :].split("</section>")[0]
    assert section.count("<svg") == 2, "for wide pages and for phones"
    assert "all answered" in section and HOSTILE not in page and HOSTILE not in markdown
    for face in (section, markdown):
        plain = " ".join(face.replace("\u00a0", " ").split())
        assert "50.0% (100 answers)" in plain and "80.0% (160 answers)" in plain
        assert "100.0% (200 answers)" in plain and "90.0%" in plain
        assert "right in 50.0%; tuned is sure to 64.5% and right in 90.0%" in plain
    assert section.count('<th role="rowheader" scope="row">') == 3 + 10 + 15
    assert ">1 (14 answers)<" in section and ">15 (13 answers)<" in section
