"""Which transcripts are shown, and in which order."""

from typing import Any

from report_samples import Sample

from kit.report.build import write_report
from kit.report.transcripts import ANSWER_LIMIT, GAINS_SHOWN, REGRESSIONS_SHOWN, pick_transcripts

METRICS = [
    {"name": "safe", "label": "Safe", "kind": "rate", "higher_is_better": True},
    {"name": "faults", "label": "Faults", "kind": "rate", "higher_is_better": False},
    {"name": "overlap", "label": "Overlap", "kind": "score", "higher_is_better": True},
]


def item(name: str, base: dict[str, float | None], tuned: dict[str, float | None]) -> dict[str, Any]:
    answers = {
        system: {"output": f"{system} {name}", "scores": scores, "details": {}, "invalid": None}
        for system, scores in (("base", base), ("tuned", tuned))
    }
    return {"id": name, "prompt": f"ask {name}", "answer": "reference", "slices": {}, "greedy": answers}


def scores(*items: dict[str, Any], metrics: list[dict[str, Any]] = METRICS) -> dict[str, Any]:
    return {"metrics": [{**m, "decoding": "greedy", "ratio": None} for m in metrics], "items": list(items)}


def test_the_greatest_loss_comes_first_and_a_gain_elsewhere_hides_none() -> None:
    good, bad = {"safe": 1.0, "faults": 0.0}, {"safe": 0.0, "faults": 1.0}
    found = pick_transcripts(
        scores(
            item("same", good, good),
            item("mixed", {"safe": 0.0, "faults": 0.0}, {"safe": 1.0, "faults": 1.0}),
            item("gain", bad, good),
            item("small", good, {"safe": 0.0, "faults": 0.0}),
            item("worst", good, bad),
        ),
        {},
    )
    assert [entry.id for entry in found.regressions] == ["worst", "small", "mixed"]
    assert [entry.id for entry in found.gains] == ["gain"]
    assert found.regressions[-1].changed == "Faults worse; Safe better"
    assert found.regressions_note.startswith("Tuning made 3 of 5 prompts worse")


def test_rates_decide_and_scores_stand_in_only_where_there_is_no_rate() -> None:
    entry = item("a", {"safe": 1.0, "overlap": 0.9}, {"safe": 1.0, "overlap": 0.1})
    assert pick_transcripts(scores(entry), {}).regressions == []
    assert len(pick_transcripts(scores(entry, metrics=METRICS[2:]), {}).regressions) == 1


def test_metrics_that_do_not_apply_decide_nothing() -> None:
    found = pick_transcripts(
        scores(item("a", {"safe": None, "faults": 0.0}, {"safe": 0.0, "faults": 0.0})), {}
    )
    assert found.regressions == found.gains == []


def test_at_most_so_many_are_shown_and_the_rest_is_counted() -> None:
    worse = [item(f"w{i:03}", {"safe": 1.0}, {"safe": 0.0}) for i in range(50)]
    better = [item(f"b{i:03}", {"safe": 0.0}, {"safe": 1.0}) for i in range(30)]
    found = pick_transcripts(scores(*worse, *better), {})
    assert (len(found.regressions), len(found.gains)) == (REGRESSIONS_SHOWN, GAINS_SHOWN)
    assert "50 of 80 prompts" in found.regressions_note
    assert f"first {REGRESSIONS_SHOWN} are shown" in found.regressions_note


def test_a_long_answer_is_cut_and_says_how_much_is_missing() -> None:
    entry = item("a", {"safe": 1.0}, {"safe": 0.0})
    entry["greedy"]["tuned"]["output"] = "x" * 1_000_000
    side = pick_transcripts(scores(entry), {}).regressions[0].tuned
    assert len(side.output) == ANSWER_LIMIT
    assert side.left_out == "998,000"


def test_failing_rules_carry_their_title_and_invalid_answers_say_why() -> None:
    entry = item("a", {"safe": 1.0}, {"safe": 0.0})
    entry["greedy"]["tuned"] |= {"details": {"safe": ["F1", "F9"]}, "invalid": "cut"}
    side = pick_transcripts(scores(entry), {"F1": "Promises a return"}).regressions[0].tuned
    assert side.marks[0].reasons == ["F1: Promises a return", "F9"]
    assert (side.marks[0].value, side.marks[0].good, side.invalid) == ("fail", False, "cut")


def test_rules_are_named_by_the_projects_policy(sample: Sample) -> None:
    (sample.root / "policy.yaml").write_text(
        "rules:\n"
        "  - {id: F1, title: Promises a return, never: ['guarantee'],"
        " examples: {violates: [We guarantee it.], complies: [It may fall.]}}\n"
        "  - {id: F2, title: Names the risk of loss, must: ['can fall'],"
        " examples: {violates: [It pays.], complies: [It can fall.]}}\n",
        encoding="utf-8",
    )
    uses = [{"name": "violation_rate", "params": {"policy": "policy.yaml"}}]
    evaluate = type(sample.config.evaluate).model_validate({"metrics": uses})
    config = sample.config.model_copy(update={"evaluate": evaluate})

    page = write_report(config, *sample.arguments[1:]).folder / "report.html"

    text = page.read_text("utf-8")
    assert "F1: Promises a return" in text
    assert "F2: Names the risk of loss (not met)" in text, "a failed duty does not read as one that was met"
