"""Trivial baselines and leaks in a report: what page one says of them, and hostile text among them."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from report_samples import Sample, build, config

from kit.report.baselines import baseline_notices, baseline_rows, counting_metrics, unbeaten_sentences
from kit.report.build import write_report
from kit.report.read import Json

NAMES = ("majority label", "always refuse", "nearest training answer")
VIOLATIONS, DISCLOSURES, REFUSALS, OVERLAP = range(4)


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return build(tmp_path, prompts=120)


def baseline(estimate: float, verdict: str, gap: float = -0.3) -> Json:
    difference = {"estimate": gap, "low": gap - 0.1, "high": gap + 0.1, "p_value": 0.01, "method": "m"}
    span = {"estimate": estimate, "low": max(estimate - 0.05, 0), "high": min(estimate + 0.05, 1)}
    return {**span, "method": "Wilson", "n": 120, "difference": difference, "verdict": verdict, "why": ""}


def with_baselines(sample: Sample, found: dict[int, tuple[tuple[float, str], ...]]) -> Json:
    """The sample's scores with these baselines of its metrics, in the order of `NAMES`."""
    scores = sample.scores()
    for place, values in found.items():
        named = zip(NAMES, values, strict=True)
        scores["metrics"][place]["baselines"] = {name: baseline(*value) for name, value in named}
    sample.change_scores(metrics=scores["metrics"])
    return scores


REFUSING = {
    VIOLATIONS: ((0.4, "improved"), (0.0, "not shown"), (0.3, "improved")),
    DISCLOSURES: ((0.1, "improved"), (0.0, "improved"), (0.5, "improved")),
    REFUSALS: ((0.2, "improved"), (1.0, "improved"), (0.2, "improved")),
}


def test_what_counts_is_named_by_gates_and_claims() -> None:
    assert counting_metrics(config()) == {"violation_rate", "disclosure_rate", "over_refusal_rate"}
    everything = counting_metrics(config(gates=[], claims=[]))
    assert everything == {"violation_rate", "disclosure_rate", "over_refusal_rate", "token_f1"}
    elsewhere = {"name": "g", "metric": "token_f1", "at_least": 0.1, "on": "maths"}
    general = {"name": "maths", "path": "m.jsonl", "metrics": ["token_f1"], "margin": 0.02}
    settings = config(gates=[elsewhere], evaluate={"general": [general]})
    assert "token_f1" not in counting_metrics(settings), "measured elsewhere"


def test_a_metric_that_refusing_wins_is_told_with_what_refusing_loses(sample: Sample) -> None:
    scores = with_baselines(sample, REFUSING)
    (said,) = baseline_notices(scores, counting_metrics(sample.config))
    assert said.startswith("On 1 of 3 metrics that count, tuned is not shown to be better than a trivial")
    assert "Policy violations (always refusing: 0.0%)" in said
    assert "always refusing has " in said and " on " in said.partition("What they lose by it: ")[2]

    folder = write_report(*sample.arguments).folder
    for face in ("report.html", "report.md", "MODEL_CARD.md"):
        text = (folder / face).read_text("utf-8")
        first = text[
            : min(text.find(end) for end in ("Gates</h2>", "## Gates", "Release report:") if end in text)
        ]
        assert "not shown to be better than a trivial baseline" in first, face
    page = (folder / "report.html").read_text("utf-8")
    assert page.count(" ✕</span>") == 1, "one baseline is not beaten"
    both_sides = page[page.index('id="two-sided"') : page.index('id="slices"')]
    assert re.findall(r'data-label="Always refuse" class="number">([^<]*)<', both_sides) == ["0.0%", "100.0%"]


def test_a_model_better_than_all_of_them_is_not_told_off(sample: Sample) -> None:
    better = dict.fromkeys((VIOLATIONS, DISCLOSURES, REFUSALS), ((0.2, "improved"),) * 3)
    scores = with_baselines(sample, better)
    counting = counting_metrics(sample.config)
    assert baseline_notices(scores, counting) == [] and unbeaten_sentences(scores, counting) == {}
    assert [row.verdict for row in baseline_rows(scores, counting)] == ["improved"] * 3


def test_a_baseline_that_does_as_well_everywhere_is_named(sample: Sample) -> None:
    copying = dict.fromkeys(
        (VIOLATIONS, DISCLOSURES, REFUSALS), ((0.2, "improved"), (0.2, "improved"), (0.0, "not shown"))
    )
    scores = with_baselines(sample, copying)
    (said,) = baseline_notices(scores, counting_metrics(sample.config))
    assert said.startswith("On no metric that counts is tuned shown to be better than copying the nearest")


def test_a_metric_that_does_not_count_is_no_news(sample: Sample) -> None:
    scores = with_baselines(sample, {OVERLAP: ((0.9, "worse"),) * 3})
    counting = counting_metrics(sample.config)
    assert baseline_notices(scores, counting) == []
    (row,) = baseline_rows(scores, counting)
    assert (row.counts, row.verdict) == (False, "worse")


def leak(**changes: Any) -> Json:
    place = {"where": "faq.csv:3", "id": "0" * 16, "text": "Can you block my card?"}
    found = {"id": "0" * 16, "kind": "near", "test": place, "train": {**place, "where": "old.csv:9"}}
    return {**found, "similarity": 0.9, "differs": ["card", "cards"], "shared": "", **changes}


def without_leaks(scores: Json) -> Json:
    """As if the leaked prompts had changed nothing."""
    kept = ("prompts", "groups", "validity", "minimum_detectable_effect", "metrics", "unscored", "latency")
    return copy.deepcopy({key: scores[key] for key in kept} | {"judge": None})


def test_leaks_that_change_nothing_stand_in_their_section_only(sample: Sample) -> None:
    sample.change_scores(leaks=[leak()], without_leaks=without_leaks(sample.scores()))
    folder = write_report(*sample.arguments).folder
    for face in ("report.html", "report.md", "MODEL_CARD.md"):
        text = (folder / face).read_text("utf-8")
        assert text.count("1 of 120 test prompts shares text with training rows") == 1, face
        assert "Without them every gate comes out the same" in text, face
    page = (folder / "report.html").read_text("utf-8")
    assert "faq.csv:3" in page and "old.csv:9" in page and "here “card”, there “cards”" in page


def test_a_change_that_only_leaks_show_is_told_on_page_one(sample: Sample) -> None:
    rest = without_leaks(sample.scores())
    rest["metrics"][VIOLATIONS]["verdict"] = "not shown"
    rest["metrics"][OVERLAP]["verdict"] = "worse"  # it counts for nothing
    sample.change_scores(leaks=[leak()], without_leaks=rest)
    text = (write_report(*sample.arguments).folder / "report.md").read_text("utf-8")
    first = text[: text.index("## Gates")]
    assert "Changes that come out otherwise: Policy violations (improved, without them not shown)." in first
    assert "Overlap" not in first


def test_a_report_lists_twenty_leaks_and_says_how_many_there_are(sample: Sample) -> None:
    sample.change_scores(leaks=[leak()] * 45, without_leaks=without_leaks(sample.scores()))
    page = (write_report(*sample.arguments).folder / "report.html").read_text("utf-8")
    assert page.count("old.csv:9") == 20 and "25 more prompts in scores.json." in page


def test_a_leaked_group_is_told_as_one(sample: Sample) -> None:
    found = leak(kind="group", similarity=None, differs=["card", "loan"])
    sample.change_scores(leaks=[found], without_leaks=without_leaks(sample.scores()))
    page = (write_report(*sample.arguments).folder / "report.html").read_text("utf-8")
    assert "1 of 120 test prompts shares text or a group with training rows: 1 a group" in page
    assert "of one group" in page


def test_prompts_that_all_leak_leave_no_score(sample: Sample) -> None:
    scores = sample.scores()
    lost = [
        {
            "name": m["name"],
            "label": m["label"],
            "decoding": m["decoding"],
            "why": "applies to none of the 0 prompts",
        }
        for m in scores["metrics"]
    ]
    nothing = {"n": 0, "invalid": 0, "reasons": {}}
    rest = {
        "prompts": 0,
        "groups": 0,
        "validity": {"greedy": {"base": nothing, "tuned": nothing}},
        "minimum_detectable_effect": None,
        "metrics": [],
        "unscored": lost,
        "latency": None,
    }
    sample.change_scores(
        leaks=[leak(kind="exact", differs=["", ""], similarity=1.0)] * 120, without_leaks=rest
    )
    text = (write_report(*sample.arguments).folder / "report.md").read_text("utf-8")
    assert "Without them the verdict would be: not enough evidence." in text[: text.index("## Gates")]
    assert "| Policy violations, without leaks | 0 | – – |" in text


@pytest.mark.parametrize("face", ["report.html", "report.md", "MODEL_CARD.md"])
def test_hostile_texts_among_leaks_and_baselines_are_escaped(sample: Sample, face: str) -> None:
    hostile = "<script>alert(1)</script> ![x](http://evil) \u202e | `a`"
    place = {"where": hostile, "id": "0" * 16, "text": hostile}
    scores = with_baselines(sample, REFUSING)
    for metric in scores["metrics"][:3]:
        metric["baselines"]["always refuse"] |= {"estimate": None, "low": None, "high": None, "why": hostile}
    found = leak(test=place, train=place, differs=[hostile, hostile])
    run = leak(kind="13-gram", test=place, train=place, shared=hostile)
    sample.change_scores(
        metrics=scores["metrics"], leaks=[found, run], without_leaks=without_leaks(sample.scores())
    )
    text = (write_report(*sample.arguments).folder / face).read_text("utf-8")
    assert "\u202e" not in text
    acting = re.sub(r"(`+).*?\1(?!`)", "", text) if face != "report.html" else text  # code spans do not act
    assert "<script>alert" not in acting
    if face != "report.html":
        assert not re.search(r"(?<!\\)\]\(http", acting)
    if face == "report.html":
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_a_gate_on_what_could_not_be_scored_stays_open_without_leaks(tmp_path: Path) -> None:
    gate = {"name": "g", "metric": "brier_score", "at_most": 0.2, "min_n": 1, "because": "measured"}
    sample = build(tmp_path, prompts=120, settings=config(gates=[gate]))
    lost = {"name": "brier_score", "label": "Brier score", "decoding": "greedy", "why": "nothing was read"}
    unscored = [*sample.scores()["unscored"], lost]
    rest = without_leaks(sample.scores()) | {"unscored": unscored}
    sample.change_scores(unscored=unscored, leaks=[leak()], without_leaks=rest)
    text = (write_report(*sample.arguments).folder / "report.md").read_text("utf-8")
    assert "every gate comes out the same, and so does the verdict: not enough evidence." in text
