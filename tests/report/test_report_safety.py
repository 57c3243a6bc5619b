"""Safety from both sides and every safety miss, as the report shows them."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hostile import severities
from report_samples import Sample, build, config
from test_report_plots import parts

from kit.report import misses
from kit.report.build import write_report
from kit.report.misses import find_misses
from kit.report.plots import NARROW, WIDE, Range
from kit.report.safety_plot import Spot, safety_plot


def spot(across: tuple[float, float, float], upwards: tuple[float, float, float]) -> Spot:
    return Spot(Range(*across, ""), Range(*upwards, ""))


BASE = spot((0.6, 0.5, 0.7), (0.1, 0.05, 0.2))
TUNED = spot((0.2, 0.1, 0.3), (0.3, 0.2, 0.38))


def draw(width: float = WIDE, base: Spot = BASE, tuned: Spot = TUNED, margin: float = 0.05) -> str:
    return safety_plot(base, tuned, margin, ("Faults", "Refusals"), "a message", "where they lie", width)


def axes(svg: str) -> tuple[list[float], list[float]]:
    """Pixels of 0 and of the axis' end with the share there, across and upwards."""
    marks = [(float(t["x"]), float(t["y"]), t["text-anchor"]) for t in parts(svg, "text", "tick")]
    words = [e.text or "" for e in ET.fromstring(svg).iter() if e.get("class") == "tick"]
    shares = [float(word.removesuffix("%")) / 100 for word in words]
    turn = next(place for place in range(1, len(shares)) if shares[place] == 0)
    across = [marks[0][0], marks[turn - 1][0], shares[turn - 1]]
    upwards = [marks[turn][1] - 4, marks[-1][1] - 4, shares[-1]]
    return across, upwards


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_points_whiskers_and_region_lie_where_the_numbers_say(width: float) -> None:
    svg = draw(width)
    across, upwards = axes(svg)

    def x(share: float) -> float:
        return pytest.approx(across[0] + share / across[2] * (across[1] - across[0]), abs=0.2)

    def y(share: float) -> float:
        return pytest.approx(upwards[0] + share / upwards[2] * (upwards[1] - upwards[0]), abs=0.2)

    dots = {system: parts(svg, "circle", f"dot {system}")[0] for system in ("base", "tuned")}
    assert (float(dots["base"]["cx"]), float(dots["base"]["cy"])) == (x(0.6), y(0.1))
    assert (float(dots["tuned"]["cx"]), float(dots["tuned"]["cy"])) == (x(0.2), y(0.3))
    level, upright = parts(svg, "line", "whisker tuned")
    assert (float(level["x1"]), float(level["x2"])) == (x(0.1), x(0.3))
    assert (float(upright["y1"]), float(upright["y2"])) == (y(0.2), y(0.38))
    region = parts(svg, "rect", "region")[0]
    assert float(region["x"]) + float(region["width"]) == x(0.6), "fewer faults than base"
    assert float(region["y"]) == y(0.15), "at most the margin more refusals"


def test_the_arrow_leads_from_base_to_tuned() -> None:
    svg = draw()
    arrow, head = parts(svg, "line", "arrow")[0], parts(svg, "polygon", "arrow-head")[0]
    tip = [float(value) for value in head["points"].split(" ")[0].split(",")]
    base, tuned = parts(svg, "circle", "dot base")[0], parts(svg, "circle", "dot tuned")[0]
    assert abs(float(arrow["x1"]) - float(base["cx"])) < 11 > abs(tip[0] - float(tuned["cx"]))
    assert draw(tuned=BASE).count("arrow-head") == 0, "none where nothing moved"


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize(
    "tuned", [TUNED, BASE, spot((0, 0, 0.02), (0, 0, 0.02)), spot((1, 0.9, 1), (1, 0.9, 1))]
)
def test_nothing_is_drawn_outside(width: float, tuned: Spot) -> None:
    svg = draw(width, tuned=tuned)
    height = float(ET.fromstring(svg).attrib["height"])
    for tag, x, y in (("circle", "cx", "cy"), ("line", "x1", "y1"), ("line", "x2", "y2"), ("text", "x", "y")):
        for shape in parts(svg, tag, ""):
            assert -0.1 <= float(shape[x]) <= width + 0.1 and -0.1 <= float(shape[y]) <= height + 0.1


def test_all_zero_is_drawn_too() -> None:
    nothing = spot((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    assert "nan" not in draw(base=nothing, tuned=nothing, margin=0.0)


def test_the_pair_is_told_in_words_as_a_plot_a_table_and_data(sample: Sample) -> None:
    folder = write_report(*sample.arguments).folder
    report = json.loads((folder / "report.json").read_text("utf-8"))
    (pair,) = report["two_sided"]
    assert (pair["first"], pair["second"]) == ("violation_rate", "over_refusal_rate")
    assert (pair["margin"], pair["margin_from"]) == (0.05, "No more refusals than before")
    page = (folder / "report.html").read_text("utf-8")
    section = page[page.index('<section id="two-sided"') : page.index('<section id="slices"')]
    assert section.count('<svg class="plot"') == 2 and section.count("<desc>base: ") == 2
    assert "set by the gate “No more refusals than before”" in section
    assert f"status {pair['status'].replace(' ', '-')}" in section
    assert section.index("</figure>") < section.index("<table"), "the table stands beneath the plot"
    said = (folder / "report.md").read_text("utf-8")
    assert f"**{pair['status']}**" in said[said.index("## Safety from both sides") :]


def test_a_case_without_both_metrics_has_no_such_section(sample: Sample) -> None:
    metrics = [metric for metric in sample.scores()["metrics"] if metric["name"] != "over_refusal_rate"]
    settings = config(gates=[])
    sample.change_scores(metrics=metrics)
    folder = write_report(settings, *sample.arguments[1:]).folder
    assert json.loads((folder / "report.json").read_text("utf-8"))["two_sided"] == []
    assert 'id="two-sided"' not in (folder / "report.html").read_text("utf-8")


def answer(output: str, scores: dict[str, Any], **details: list[str]) -> dict[str, Any]:
    return {"output": output, "scores": scores, "details": details, "invalid": None}


def item(
    name: str, tuned: dict[str, Any], base: dict[str, Any] | None = None, decoding: str = "greedy"
) -> Any:
    sides = {"base": base or answer("fine", {}), "tuned": tuned}
    return {
        "id": name,
        "prompt": f"ask {name}",
        "answer": "reference",
        "slices": {"topic": "x"},
        decoding: sides,
    }


def found_in(*items: dict[str, Any], metrics: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    by_rule = {"name": "violation_rate", "severities": severities({"F1": 1})}
    return {"metrics": metrics or [by_rule, {"name": "escalation_recall"}], "items": list(items)}


def test_every_critical_rule_and_missed_emergency_is_shown_and_nothing_else() -> None:
    broke = answer("We guarantee it.", {"violation_rate": 1}, violation_rate=["F3", "F1"])
    missed = answer("Rest.", {"escalation_recall": 0}, escalation_recall=["red flag missed: nothing"])
    found = find_misses(
        found_in(
            item("critical", broke, base=broke),
            item("major", answer("Buy it.", {"violation_rate": 1}, violation_rate=["F3"])),
            item("sampled", broke, decoding="sampled"),
            item("emergency", missed),
            item("fine", answer("Call 911.", {"escalation_recall": 1})),
        ),
        {"F1": "Promises a return"},
        "",
    )
    assert [(miss.id, miss.decoding, miss.reasons) for miss in found.shown] == [
        ("critical", "greedy", ["F1: Promises a return"]),
        ("sampled", "sampled", ["F1: Promises a return"]),
        ("emergency", "greedy", ["red flag missed: nothing"]),
    ]
    assert [miss.base for miss in found.shown] == ["base: the same miss", *["base: no such miss"] * 2]
    assert found.note.startswith("3 of 5 tuned answers (2 greedy, 1 sampled) break a critical rule")
    assert found.listed == [] and found.left_out_note == ""


def test_under_triage_counts_where_the_case_is_the_most_urgent() -> None:
    metrics = [{"name": "under_triage"}]
    urgent = answer("Rest.", {"under_triage": 1}, under_triage=["emergency sent to home"])
    other = answer("Rest.", {"under_triage": 1}, under_triage=["doctor sent to home"])
    found = find_misses(found_in(item("a", urgent), item("b", other), metrics=metrics), {}, "emergency")
    assert [miss.id for miss in found.shown] == ["a"]


def test_no_miss_and_nothing_to_miss_are_told_apart() -> None:
    none = find_misses(found_in(item("a", answer("ok", {}))), {}, "")
    assert none.note.startswith("None of 1 tuned answer breaks a critical rule")
    broken = [item(id_, answer("ok", {}) | {"invalid": "cut"}) for id_ in "ab"]
    cut = find_misses(found_in(*broken), {}, "")
    assert "2 answers are unusable (see Validity): they count as violations in the scores" in cut.note
    blind = find_misses(found_in(item("a", answer("ok", {})), metrics=[{"name": "token_f1"}]), {}, "")
    assert "nothing here says which answers are dangerous" in blind.note


def test_more_than_twenty_are_shown_and_the_rest_is_listed_only_for_want_of_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broke = answer("We guarantee it. 保" * 20, {}, violation_rate=["F1"])
    many = found_in(*(item(f"{place:03}", broke) for place in range(150)))
    assert len(find_misses(many, {}, "").shown) == 150
    monkeypatch.setattr(misses, "ROOM", 30_000)
    found = find_misses(many, {}, "")
    assert 10 < len(found.shown) < 50
    assert [id for id, _, _ in found.listed] == [f"{place:03}" for place in range(len(found.shown), 150)]
    assert f"the other {150 - len(found.shown)} are listed by id and reason" in found.left_out_note


def test_2000_prompts_that_all_miss_stay_under_3_megabytes(tmp_path: Path) -> None:
    sample = build(tmp_path, prompts=2000)
    scores = sample.scores()
    hostile = "<&>\"' 保证收益 " * 400
    for entry in scores["items"]:
        entry["prompt"] = f"{entry['id']} {hostile}"
        entry["greedy"]["tuned"] |= {"output": hostile, "details": {"violation_rate": ["F1"]}}
        entry["sampled"] = entry["greedy"]
        for part in ("area", "branch"):
            entry["slices"][part] = f"{part} {entry['id']}"
    scores["metrics"][0]["severities"] = severities({"F1": 2000})
    for metric in scores["metrics"]:
        if metric["slices"]:
            lone = metric["slices"][0]
            metric["slices"] += [
                {**lone, "column": "area", "value": f"area {i}", "n": 1} for i in range(2000)
            ]
    sample.change_scores(items=scores["items"], metrics=scores["metrics"])

    folder = write_report(*sample.arguments).folder

    page = (folder / "report.html").read_text("utf-8")
    assert (folder / "report.html").stat().st_size < 3_000_000
    assert "4,000 of 4,000 tuned answers (2,000 greedy, 2,000 sampled) break a critical rule" in page
    assert "1,969 better ones are left out" in page, "of 2,000 slices of one prompt each, and nine usual ones"
    assert "To keep this file under 3 MB" in page
    assert len(re.findall(r'data-kind="miss"', page)) > 20
    assert "## Safety misses" in (folder / "report.md").read_text("utf-8")
