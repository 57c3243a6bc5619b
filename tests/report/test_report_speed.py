"""What the report says of speed and of labour: sections where asked for, numbers as in report.json."""

import json
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest
from report_samples import Sample, config, load, response_time

from kit.report.build import write_report
from kit.report.plots import NARROW, WIDE
from kit.report.tornado import Bar, tornado_plot

LABOUR = {
    "contained": "disclosure_rate",
    "contacts": 10_000,
    "minutes_per_contact": [5, 6, 9],
    "hourly_wage": 20,
    "review_share": [0.05, 0.1, 0.4],
    "minutes_per_review": 3,
    "inference_cost": 0.02,
    "currency": "EUR",
}
CLAIM = {"name": "60% less labour", "modelled_by": "labour", "at_least": 0.6, "source": "a case"}


def faces(sample: Sample) -> tuple[str, str, dict[str, Any]]:
    folder = write_report(*sample.arguments).folder
    found = json.loads((folder / "report.json").read_text("utf-8"))
    return (folder / "report.html").read_text("utf-8"), (folder / "report.md").read_text("utf-8"), found


def words(html: str) -> str:
    """The text of a page on one line, without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).replace("\u00a0", " ").split())


def section(html: str, name: str) -> str:
    start = html.index(f'<section id="{name}"')
    return html[start : html.index("</section>", start)]


def test_the_parts_of_a_speed_up_multiply_to_it_as_printed(sample: Sample) -> None:
    html, markdown, found = faces(sample)
    said = words(section(html, "latency"))
    parts = found["latency"]["decomposition"]
    assert np.prod(list(parts.values())) == pytest.approx(found["latency"]["speedup"]["estimate"])
    for value in (*parts.values(), found["latency"]["speedup"]["estimate"]):
        assert f"{value:.2f}×" in said and f"{value:.2f}×" in markdown
    for face in (said, markdown):
        assert "an adapter merged into the same weights cannot change the time per token" in face
        assert "shorter answers, quantisation, batching or hardware" in face
        assert "most of it is the shorter answers" in face


def test_a_percentile_that_too_few_prompts_show_is_no_number(sample: Sample) -> None:
    said = words(section(faces(sample)[0], "latency"))
    assert "the 95th takes 59 and the 99th takes 299" in said
    assert "Whole answer (E2E), 99th percentile" not in said
    assert "Whole answer (E2E), slowest 1.12 s 0.730 s" in said
    assert "end of the line: slowest of 16 prompts" in said
    assert "Between two tokens, 95th percentile 17.6 ms 17.6 ms" in said, "of those there are enough"


def test_enough_prompts_show_it(sample: Sample) -> None:
    latency = sample.scores()["latency"]
    for system in ("base", "tuned"):
        for part in ("seconds_to_first_token", "seconds_per_output_token", "seconds"):
            latency[system][part] |= {"p95": latency[system][part]["max"] * 0.9}
        latency[system]["n"] = 64
    sample.change_scores(latency=latency)
    said = words(section(faces(sample)[0], "latency"))
    assert "Whole answer (E2E), 95th percentile 1.01 s 0.657 s" in said
    assert "the 99th takes 299" in said and "the 95th takes" not in said
    assert "end of the line: 95th percentile" in said


@pytest.mark.parametrize(
    ("verdict", "parts", "adapter", "said"),
    [
        ("improved", (0.9, 1.5, 1.0), "none", "the time per token, which the same weights hardly explain"),
        ("improved", (1.0, 1.0, 1.4), "none", "the wait for the first token: 1.40×"),
        ("worse", (0.5, 0.9, 1.0), "beside the base, not merged", "the longer answers: 0.50×"),
    ],
)
def test_the_report_prints_where_the_gain_came_from(
    sample: Sample, verdict: str, parts: tuple[float, ...], adapter: str, said: str
) -> None:
    scores = sample.scores()
    same = {"device": "cpu", "quantization": "none", "adapter": adapter}
    conditions = {"base": same, "tuned": same, "mismatches": []}
    decomposition = dict(zip(("length", "per_token", "first_token"), parts, strict=True))
    latency = scores["latency"] | {"decomposition": decomposition}
    metrics = [m for m in scores["metrics"] if m["name"] != "response_time"]
    sample.change_scores(latency=latency, conditions=conditions, metrics=[*metrics, response_time(verdict)])
    text = words(section(faces(sample)[0], "latency"))
    assert said in text and "on the same hardware (cpu), on the same quantisation (none)" in text
    assert ("merged, it would cost no time of its own" in text) == (adapter != "none")


def test_a_change_that_is_not_shown_is_not_taken_apart(sample: Sample) -> None:
    metrics = [m for m in sample.scores()["metrics"] if m["name"] != "response_time"]
    sample.change_scores(metrics=[*metrics, response_time("not shown")])
    html, markdown, _ = faces(sample)
    assert "The speed-up as a product" not in html and "part of the speed-up" not in markdown
    assert "cannot change the time per token" in words(html)


def test_several_at_once_are_shown_where_they_were_asked_for(sample: Sample) -> None:
    html, markdown, _ = faces(sample)
    assert 'id="load"' not in html and "static batch" not in markdown
    latency = sample.scores()["latency"]
    four = load(4, 16, {"base": 3.25, "tuned": 4.75})
    limits = {"time_to_first_token": 0.5, "time_per_output_token": 0.05}
    for entry in (latency["load"][0], four):
        for system in ("base", "tuned"):
            entry[system] |= {"good": 7, "goodput": 7 / entry[system]["busy_seconds"], "failed": 2}
    absent = {"concurrency": 64, "requests": 0, "base": None, "tuned": None, "gain": None}
    absent["why"] = "there are fewer test prompts than that"
    sample.change_scores(latency=latency | {"load": [latency["load"][0], four, absent], "limits": limits})
    html, markdown, found = faces(sample)
    text = words(section(html, "latency"))
    for face in (text, markdown.replace("\u00a0", " ")):
        assert "one static batch" in face and "continuous batching usually does better" in face
        assert "first token within 0.500 s and then one every 50.0 ms or faster" in face
        assert "4 at once, tuned completes 2.50× as many answers a second" in face
        assert "1.25× by how it answers and 2.00× by batching" in face
        assert "64 at once: there are fewer test prompts than that" in face
        assert "16, 2 failed" in face
        assert f"{found['latency']['load'][1]['tuned']['goodput']:.2f} (7 of 16)" in face
        assert "4.75" in face and "3.25" in face


def test_limits_alone_show_goodput_one_at_a_time(sample: Sample) -> None:
    latency = sample.scores()["latency"]
    for system in ("base", "tuned"):
        latency["load"][0][system] |= {"good": 0, "goodput": 0.0}
    limits = {"time_to_first_token": 0.001, "time_per_output_token": 0.05}
    sample.change_scores(latency=latency | {"limits": limits})
    html, markdown, _ = faces(sample)
    for face in (html, markdown):
        assert "0.00 (0 of 16)" in face and "static batch" not in face


def labour_sample(sample: Sample, **changes: Any) -> Sample:
    settings = config(labour=LABOUR | changes, claims=[CLAIM])
    return Sample(settings, sample.root, sample.evaluation, sample.run, sample.prepared)


def test_without_assumptions_there_is_no_labour_and_the_claim_stays_open(sample: Sample) -> None:
    bare = Sample(config(claims=[CLAIM]), *sample.arguments[1:])
    html, markdown, found = faces(bare)
    assert 'id="labour"' not in html and 'href="#labour"' not in html and "## Labour" not in markdown
    assert found["labour"] is None
    (claim,) = found["claims"]
    assert (claim["status"], claim["found"]) == ("not testable", None)
    assert "type your own assumptions under `labour`" in html
    assert "60.0%" in section(html, "claims")


def test_the_labour_model_says_the_same_everywhere(sample: Sample) -> None:
    html, markdown, found = faces(labour_sample(sample))
    model, (claim,) = found["labour"], found["claims"]
    text, plain = words(section(html, "labour")), markdown.replace("\u00a0", " ")
    assert {key: claim["found"][key] for key in ("estimate", "low", "high")} == {
        key: model["saving"][key] for key in ("estimate", "low", "high")
    }
    fall = f"−{100 * model['saving']['estimate']:.1f}%"
    assert model["saving"]["low"] < model["saving"]["estimate"] < model["saving"]["high"]
    for face in (text, plain):
        assert "Modelled, not measured" in face and fall in face
        assert "The contained share d is the one thing measured: Risk disclosures" in face
        for typed in ("Minutes a contact, by hand", "20 EUR", "10,000", "5.0%", "40.0%"):
            assert typed in face
        for row in model["tornado"]:
            assert f"{100 * row['swing']:.1f} points" in face
    claims = words(section(html, "claims"))
    assert "modelled and not measured" in claims and "20 EUR an hour" in claims
    assert f"{100 * model['saving']['estimate']:.1f}%" in claims
    assert "] modelled" in claims
    swings = [row["swing"] for row in model["tornado"]]
    assert swings == sorted(swings, reverse=True) and len(swings) == 4
    table = words(section(html, "labour").partition("What moves the saving most")[2])
    places = [table.index(f"{100 * swing:.1f} points") for swing in swings]
    assert places == sorted(places), "the widest first"


def test_fixed_assumptions_leave_only_what_was_measured_to_move(sample: Sample) -> None:
    fixed = labour_sample(sample, minutes_per_contact=6, review_share=0.1)
    html, _, found = faces(fixed)
    assert {row["input"] for row in found["labour"]["tornado"]} == {"contained_base", "contained_tuned"}
    assert "typed, not measured" not in html


def test_a_share_that_was_not_measured_is_told(sample: Sample) -> None:
    lost = [m for m in sample.scores()["metrics"] if m["name"] != "disclosure_rate"]
    unscored = {"name": "disclosure_rate", "label": "Risk", "decoding": "greedy", "why": "none"}
    gates = [{"name": "Few violations", "metric": "violation_rate", "at_most": 0.1}]
    sample.change_scores(metrics=lost, unscored=[unscored])
    settings = config(labour=LABOUR, claims=[CLAIM], gates=gates)
    html, _, found = faces(Sample(settings, *sample.arguments[1:]))
    assert "could not be modelled" in section(html, "labour") and "<table" not in section(html, "labour")
    assert found["claims"][0]["status"] == "not testable"


def test_a_currency_is_text_of_the_project_and_escaped(sample: Sample) -> None:
    html, _, _ = faces(labour_sample(sample, currency="<b>€|"))
    assert "<b>€" not in html and "&lt;b&gt;€" in html


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_tornado_draws_its_bars_in_order_and_to_scale(width: float) -> None:
    bars = [
        Bar("Reviews & more", "5% to 40%", 0.7, 0.5, measured=False),
        Bar("Contained share, tuned", "74% to 85%", 0.6, 0.7, measured=True),
    ]
    root = ElementTree.fromstring(tornado_plot(bars, 0.65, "Saving", width))
    lines = [e for e in root.iter() if e.get("class", "").startswith("swing")]
    assert [e.get("class") for e in lines] == ["swing base", "swing tuned"]
    spans = [(float(e.get("x1", "")), float(e.get("x2", ""))) for e in lines]
    assert spans[0][0] > spans[0][1] and spans[1][0] < spans[1][1], "from the lowest value to the highest"
    wide = [abs(x2 - x1) for x1, x2 in spans]
    assert wide[0] == pytest.approx(2 * wide[1], abs=0.2), "20 points against 10"
    (best,) = [e for e in root.iter() if e.get("class") == "golden"]
    assert float(best.get("x1", "")) == pytest.approx(sum(spans[1]) / 2, abs=0.2)
    assert all(0 <= x <= width for span in spans for x in span)
    assert "all at their best: 65.0%" in "".join(root.itertext()).replace("\u00a0", " ")
