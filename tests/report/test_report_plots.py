"""Plots place what they show where the numbers say, and survive odd input."""

import re
import xml.etree.ElementTree as ET

import pytest

from kit.report.plots import NARROW, WIDE, Range, Row, interval_plot, latency_plot, loss_curve, score_curve


def span(value: float, low: float, high: float) -> Range:
    return Range(value, low, high, f"{value:.0%}")


def parts(svg: str, tag: str, kind: str) -> list[dict[str, str]]:
    root = ET.fromstring(svg)
    return [e.attrib for e in root.iter(tag) if set(kind.split()) <= set(e.get("class", "").split())]


ROWS = [
    Row("First", "lower is better", span(0.5, 0.25, 0.75), span(0.0, 0.0, 0.1)),
    Row("Second", "higher is better", span(0.1, 0.05, 0.2), span(1.0, 0.9, 1.0)),
]


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_row_shares_one_axis_from_0_to_100_per_cent(width: float) -> None:
    svg = interval_plot(ROWS, "title", width)
    left, right = (
        float(tick["x"]) for tick in (parts(svg, "text", "tick")[0], parts(svg, "text", "tick")[-1])
    )

    def at(share: float) -> float:
        return pytest.approx(left + share * (right - left), abs=0.11)

    assert [float(dot["cx"]) for dot in parts(svg, "circle", "dot base")] == [at(0.5), at(0.1)]
    assert [float(dot["cx"]) for dot in parts(svg, "circle", "dot tuned")] == [at(0.0), at(1.0)]
    whisker = parts(svg, "line", "whisker base")[0]
    assert (float(whisker["x1"]), float(whisker["x2"])) == (at(0.25), at(0.75))


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_nothing_is_drawn_outside_the_plot(width: float) -> None:
    svg = interval_plot(ROWS, "title", width)
    height = float(ET.fromstring(svg).attrib["height"])
    for tag, x, y in (("circle", "cx", "cy"), ("line", "x1", "y1"), ("line", "x2", "y2"), ("text", "x", "y")):
        for shape in parts(svg, tag, ""):
            assert 0 <= float(shape[x]) <= width and 0 <= float(shape[y]) <= height


def test_a_plot_has_a_name_that_screen_readers_read() -> None:
    root = ET.fromstring(interval_plot(ROWS, "52% <to> 2%"))
    assert (root.attrib["role"], root.attrib["aria-label"]) == ("img", "52% <to> 2%")
    assert root[0].tag.endswith("title") and root[0].text == "52% <to> 2%"


def test_a_system_without_a_score_leaves_its_line_empty() -> None:
    svg = interval_plot([Row("Only tuned", "", None, span(0.5, 0.4, 0.6))], "t")
    assert len(parts(svg, "circle", "dot")) == 1


def test_untested_slices_are_drawn_lightly() -> None:
    svg = interval_plot([Row("few", "n = 3", span(0.5, 0.1, 0.9), span(0.5, 0.1, 0.9), faint=True)], "t")
    assert len(parts(svg, "circle", "faint")) == 2


def test_labels_are_text_whatever_they_hold() -> None:
    svg = interval_plot([Row("<script>&\u202e", "", span(0.5, 0, 1), None)], "t")
    assert "<script>" not in svg and "⟦U+202E⟧" in svg


def test_response_times_start_at_zero() -> None:
    svg = latency_plot([Row("First token", "", span(0.02, 0.02, 0.03), span(0.4, 0.4, 1.12))], "t")
    ticks = [tick.text for tick in ET.fromstring(svg).iter() if tick.get("class") == "tick"]
    assert ticks[0] == "0.0\u00a0s" and ticks[-1] == "1.5\u00a0s"


def test_the_golden_step_is_marked_where_it_lies() -> None:
    svg = loss_curve([(1, 3.0), (100, 1.0)], [(50, 1.5), (100, 1.2)], 50, "t")
    golden = parts(svg, "line", "golden")[0]
    dots = parts(svg, "circle", "dot tuned")
    assert golden["x1"] == golden["x2"] == dots[0]["cx"]
    assert "golden checkpoint, step 50" in svg
    assert "golden" not in loss_curve([(1, 3.0)], [], None, "t")


@pytest.mark.parametrize("value", [0.0, 1e-9, 2.5, 1e6, -3.0])
def test_a_flat_or_single_point_curve_is_drawn(value: float) -> None:
    for svg in (loss_curve([(1, value)], [], 1, "t"), score_curve([(1, value), (2, value)], 2, "t", True)):
        assert not re.search("nan|inf", svg)
        assert ET.fromstring(svg) is not None


def test_a_lower_loss_is_drawn_lower() -> None:
    path = parts(loss_curve([(1, 3.0), (2, 1.0)], [], None, "t"), "path", "line base")[0]["d"]
    (_, first), (_, second) = (tuple(map(float, point.split())) for point in path[1:].split("L"))
    assert second > first
