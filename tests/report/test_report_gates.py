"""What a report says of gates: what was found and wanted, what was dropped, what was judged before."""

import json
import re
from pathlib import Path

from report_samples import Sample, build, config, save

from kit.config.errors import ExitCode
from kit.config.gates import Gate
from kit.report.build import write_report


def texts(folder: Path) -> list[str]:
    faces = [(folder / face).read_text("utf-8") for face in ("report.html", "report.md")]
    return [" ".join(text.replace("\\", "").replace("\u00a0", " ").split()) for text in faces]


def gate(**changes: object) -> dict[str, object]:
    return {"name": "g", "metric": "violation_rate", **changes}


def with_metric(sample: Sample, **changes: object) -> None:
    first, *others = sample.scores()["metrics"]
    sample.change_scores(metrics=[first | changes, *others])


def test_a_bound_stands_beside_its_estimate(tmp_path: Path) -> None:
    sample = build(tmp_path, settings=config(gates=[gate(at_most=0.1, bound="upper")]))
    with_metric(sample, tuned={"estimate": 0.05, "low": 0.03, "high": 0.09, "method": "Wilson"})
    folder = write_report(*sample.arguments).folder
    page, markdown = texts(folder)
    assert '<span class="estimate">9.0%</span> <span class="span">estimate 5.0% [3.0, 9.0]</span>' in page
    assert "9.0% estimate 5.0% [3.0, 9.0]" in markdown
    (found,) = json.loads((folder / "report.json").read_text("utf-8"))["gates"]
    assert (found["found"], found["estimate"], found["kind"]) == (0.09, 0.05, "threshold")


def test_each_kind_of_gate_says_what_it_asks_found_and_why(tmp_path: Path) -> None:
    gates = [
        gate(name="Better", significant=True),
        gate(name="No loss", non_inferior={"margin": 0.02}),
        gate(name="None", zero_tolerance="critical"),
    ]
    sample = build(tmp_path, settings=config(gates=gates))
    tuned = {"n": 150, "groups": 150, "found": 0, "rules": {}}
    severities = {severity: {"tuned": tuned, "base": tuned} for severity in ("critical", "major", "minor")}
    difference = {"estimate": 0.01, "low": -0.01, "high": 0.03, "p_value": 0.4, "method": "m"}
    with_metric(sample, severities=severities, difference=difference)
    result = write_report(*sample.arguments)
    assert result.exit_code is ExitCode.GATE_FAILED
    for text in texts(result.folder):
        assert "tuned better than base" in text and "Tuned is not better than base." in text
        assert "tuned minus base, unfavourable bound" in text and "+3.0 points" in text
        assert "So large a loss is not ruled out, which is not to say that there is one." in text
        assert "answers that break a critical rule" in text
        assert "None in 150 greedy answers; up to 2% of prompts may still get one." in text


def test_gates_that_the_project_dropped_or_changed_are_named(sample: Sample) -> None:
    own = sample.config.gates[0]
    recipe = [
        Gate(name="Emergencies", metric="disclosure_rate", at_least=0.98, because="the recipe's"),
        own.model_copy(update={"at_most": 0.05}),
        sample.config.gates[1].model_copy(update={"because": "other words are no other gate"}),
    ]
    folder = write_report(*sample.arguments, recipe_gates=recipe).folder
    for text in texts(folder):
        assert "does not set as the recipe does" in text
        assert "Emergencies" in text and "Risk disclosures, tuned ≥ 98.0%, dropped" in text
        assert "Policy violations, tuned, upper bound ≤ 5.0%, set otherwise" in text
    found = json.loads((folder / "report.json").read_text("utf-8"))["dropped_gates"]
    assert [(row["name"], row["now"]) for row in found] == [
        ("Emergencies", "dropped"),
        (own.name, "set otherwise"),
    ]
    assert "does not set as the recipe" not in texts(write_report(*sample.arguments).folder)[0]


def test_a_verdict_by_other_gates_stays_listed(tmp_path: Path) -> None:
    """Nobody gets a pass by a laxer threshold without the report saying what it was before."""
    strict = build(tmp_path, settings=config(gates=[gate(name="Few", at_most=0.0)]))
    lax = Sample(config(gates=[gate(name="Few", at_most=0.9)]), *strict.arguments[1:])
    assert write_report(*strict.arguments).exit_code is ExitCode.GATE_FAILED
    result = write_report(*lax.arguments)
    assert result.exit_code is ExitCode.DONE
    for text in texts(result.folder):
        assert "This evaluation was judged before" in text
        plain = " ".join(re.sub(r"<[a-z/][^>]*>| - ", " ", text).split())
        assert "by other gates: 1 of 1 gates failed: Few. Gates then: Few: at most 0, failed" in plain
    report = json.loads((result.folder / "report.json").read_text("utf-8"))
    assert [verdict["status"] for verdict in report["earlier"]] == ["failed"]

    write_report(*lax.arguments)
    again = json.loads((result.folder / "report.json").read_text("utf-8"))
    assert again == report, "the same gates on the same scores are no further verdict"
    lax.change_scores(kit_version="0.2.0")
    write_report(*lax.arguments)
    third = json.loads((result.folder / "report.json").read_text("utf-8"))
    assert [verdict["status"] for verdict in third["earlier"]] == ["failed", "passed"]
    assert "by other scores" in texts(result.folder)[1]


def test_slices_show_their_q_value(sample: Sample) -> None:
    metrics = sample.scores()["metrics"]
    for metric in metrics:
        for place, part in enumerate(metric["slices"]):
            part["difference"]["q_value"] = 0.034 if part["tested"] else None
            part["tested"] = part["tested"] or not place
    sample.change_scores(metrics=metrics)
    page, markdown = texts(write_report(*sample.arguments).folder)
    assert "q = .034" in page and "| q = .034 |" in markdown
    assert "Benjamini–Hochberg" in page


def test_a_claim_says_what_it_means_and_how_near_is_near_enough(tmp_path: Path) -> None:
    claim = {
        "name": "c", "metric": "violation_rate", "of": "reduction", "at_least": 0.8, "margin": 0.05,
        "definition": "share of conversations with a critical violation", "unit": "conversation",
    }  # fmt: skip
    folder = write_report(*build(tmp_path, settings=config(claims=[claim])).arguments).folder
    for text in texts(folder):
        assert "Share of conversations with a critical violation." in text
        assert "within 5.0 points" in text and "synthetic conversations" in text


def test_intervals_are_named_by_the_confidence_they_were_made_with(sample: Sample) -> None:
    sample.change_scores(confidence=0.9)
    assert "90% intervals" in texts(write_report(*sample.arguments).folder)[0]


def evaluated_with(sample: Sample, seed: int) -> None:
    """The sample's evaluation once more, as if of another run that differs by the seed only."""
    scores = sample.scores()
    folder = sample.evaluation
    if seed != 1:
        folder = sample.evaluation.parent / f"seed{seed}"
        for place, item in enumerate(scores["items"]):
            item["greedy"]["tuned"]["scores"]["violation_rate"] = float(place % (20 * seed) == 0)
        save(folder / "scores.json", scores)
    save(folder / "evaluation.json", {"run": f"s{seed}", "generation": {"seed": seed}, "scoring": "x"})
    save(sample.root / "runs" / f"s{seed}" / "config.yaml", {"seed": seed, "train": {"max_steps": 9}})


def test_three_seeds_are_a_table_and_fewer_are_said_in_words(sample: Sample) -> None:
    items = sample.scores()["items"]
    for item in items:
        item["group"] = item["id"]
    sample.change_scores(items=items)
    evaluated_with(sample, 1)
    assert all("One training seed" in text for text in texts(write_report(*sample.arguments).folder))
    evaluated_with(sample, 2)
    assert all("2 training seeds: too few" in text for text in texts(write_report(*sample.arguments).folder))
    evaluated_with(sample, 3)
    folder = write_report(*sample.arguments).folder
    for text in texts(folder):
        assert "3 training seeds: the table by seeds covers the luck of training too" in text
    (row, *_) = json.loads((folder / "report.json").read_text("utf-8"))["seed_factor"]
    shown = ", ".join(f"{100 * value:.1f}%" for value in row["tuned"])
    gap = row["difference"]
    for text in texts(folder):
        assert shown in text and f"{100 * gap['seed_error']:.1f} points" in text
        assert f"{100 * gap['prompt_error']:.1f} points" in text
