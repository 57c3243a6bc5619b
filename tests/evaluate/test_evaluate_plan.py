"""What an evaluation could show, said before the first answer is made."""

import json
from pathlib import Path

import numpy as np
import pytest

from kit import cli
from kit.config.schema import Config
from kit.evaluate import evaluate as evaluating
from kit.evaluate import statistics
from kit.evaluate.evaluate import evaluate, load_metrics
from kit.evaluate.plan import measured_discordances, plan
from kit.evaluate.power import detectable_deviations, groups_for_no_loss, minimum_detectable_effect
from kit.evaluate.prompts import Prompt
from kit.hooks import Hooks


def make_prompts(count, per_group=1, languages=("en",)):
    return [
        Prompt(
            id=f"{n:04x}",
            messages=[{"role": "user", "content": f"Q{n}"}],
            expected={"topic": "funds" if n % 2 else "loans", "answerable": True},
            slices={"language": languages[n % len(languages)]},
            group=str(n // per_group),
            answer="It can fall.",
        )
        for n in range(count)
    ]


@pytest.fixture
def make_plan(policy_file):
    def make(prompts, gates=(), measured=None, **changes):
        given = {"params": {"policy": str(policy_file)}}
        uses = [{"name": "violation_rate", **given}, {"name": "disclosure_rate", **given}, "token_f1"]
        uses += ["answer_perplexity"] if any(g["metric"] == "answer_perplexity" for g in gates) else []
        tree = {"evaluate": {"metrics": uses}, "gates": [{"name": "g", **gate} for gate in gates], **changes}
        config = Config.model_validate(tree)
        return plan(config, load_metrics(config, Hooks(), Path("/")), prompts, measured or {})

    return make


def test_each_metric_has_its_own_prompts_and_groups(make_plan):
    violations, disclosures, overlap = make_plan(make_prompts(200, per_group=2)).metrics
    assert (violations.n, violations.groups) == (200, 100)
    assert violations.effect == pytest.approx(0.124, abs=0.001), "100 groups show 12.4 points"
    assert (violations.discordance, violations.source) == (0.2, "")
    assert (disclosures.n, disclosures.groups) == (100, 100), "the must-rule is about funds only"
    assert overlap.in_deviations and overlap.effect == pytest.approx(2.80 / 10, abs=0.01)


def test_what_earlier_systems_disagreed_on_is_taken_where_it_is_known(make_plan):
    measured = {"violation_rate": (0.5, "r1-1234")}
    violations, disclosures, _ = make_plan(make_prompts(200), measured=measured).metrics
    assert (violations.discordance, violations.source) == (0.5, "r1-1234")
    assert violations.effect == pytest.approx(minimum_detectable_effect(200, 0.5))
    assert disclosures.source == ""


def test_disagreement_is_read_from_the_newest_evaluation_of_the_same_data(tmp_path):
    def item(base, tuned):
        return {"greedy": {"base": {"scores": {"m": base}}, "tuned": {"scores": {"m": tuned}}}}

    entry = {"name": "m", "decoding": "greedy", "kind": "rate"}
    items = [item(1, 0), item(1, 1), item(0, 0), item(0, 1), item(None, 1)]
    for name, data in (("e1", "fp"), ("e2", "other")):
        scores = {"evaluation": name, "data": data, "metrics": [entry], "items": items}
        path = tmp_path / "evaluations" / name / "scores.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(scores))
    assert measured_discordances(tmp_path, "fp") == {"m": (0.5, "e1")}
    assert measured_discordances(tmp_path, "unknown") == {}
    items[:] = [item(1, 1)] * 10
    path.write_text(json.dumps({"evaluation": "e2", "data": "fp", "metrics": [entry], "items": items}))
    assert measured_discordances(tmp_path, "fp") == {"m": (0.01, "e2")}


@pytest.mark.parametrize(
    ("gate", "count", "told"),
    [
        ({"at_most": 0.05}, 200, None),
        ({"at_most": 0.05}, 20, "g: stays open, with 20 prompts where it asks for 30"),
        ({"at_most": 0.05}, 1, "g: stays open, with 1 prompt where it asks for 30"),
        (
            {"at_least": 0.9},
            200,
            "g: has `at_least: 0.9`, and of violation_rate lower is better: is `at_most`",
        ),
        ({"metric": "token_f1", "at_most": 0.9}, 200, "of token_f1 higher is better: is `at_least` meant?"),
        ({"of": "difference", "at_least": -0.1}, 200, None),
        ({"at_most": 0.05, "bound": "upper"}, 60, "cannot pass: none in 60 still allows 6%"),
        ({"at_most": 0.05, "bound": "upper", "worst_of": 4}, 60, "cannot pass: none in 60 still allows 6%"),
        ({"at_most": 0.05, "bound": "upper"}, 100, None),
        (
            {"metric": "disclosure_rate", "at_least": 0.95, "bound": "lower"},
            120,
            "all of 60 still allows 94%",
        ),
        ({"significant": True}, 200, None),
        ({"significant": True}, 31, "31 are too few to show most differences"),
        ({"non_inferior": {"margin": 0.1}}, 200, None),
        ({"non_inferior": {"margin": 0.02}}, 200, "hardly passes, even where nothing is lost: 200 rule out"),
        ({"zero_tolerance": "critical", "min_n": 299}, 400, "with 200 prompts where it asks for 299"),
        ({"zero_tolerance": "major", "min_n": 299}, 400, None),
        ({"metric": "token_f1", "at_least": 0.5, "bound": "lower"}, 200, None),
        ({"metric": "response_time", "of": "ratio", "at_least": 2}, 200, "with 16 timed prompts at most"),
        ({"metric": "answer_perplexity", "at_most": 9}, 20, "with 20 groups of prompts at most"),
        ({"metric": "answer_perplexity", "at_most": 9}, 200, None),
        (
            {"metric": "disclosure_rate", "at_least": 0.9, "worst": "language"},
            100,
            "language de: stays open, with 0",
        ),
    ],
)
def test_a_gate_that_could_not_be_met_is_told_beforehand(make_plan, gate, count, told):
    gate = {"metric": "violation_rate", **gate}
    recipe = {"languages": ["en", "de"]}
    warnings = make_plan(make_prompts(count), [gate], recipe=recipe).warnings
    assert (warnings == []) if told is None else (len(warnings) == 1 and told in warnings[0]), warnings


def test_gates_that_the_same_stands_in_the_way_of_are_one_warning(make_plan):
    few = {"metric": "violation_rate", "at_most": 0.05}
    gates = [{**few, "name": "a"}, {**few, "name": "b"}, {**few, "name": "c"}]
    assert make_plan(make_prompts(20), gates).warnings == [
        "3 gates, of each: stays open, with 20 prompts where it asks for 30 (a; b; c)"
    ]
    gates += [
        {"metric": "disclosure_rate", "at_least": 0.9, "name": "d"},
        {"metric": "disclosure_rate", "at_least": 0.9, "worst": "language", "name": "e"},
        {"metric": "violation_rate", "non_inferior": {"margin": 0.1}, "min_n": 10, "name": "f"},
    ]
    folded, other = make_plan(make_prompts(20), gates).warnings
    named = [f"{name} (20 prompts where it asks for 30)" for name in "abc"]
    named += ["d (10 prompts where it asks for 30)", "e (language en: 10 prompts where it asks for 30)"]
    assert folded == f"5 gates stay open: {'; '.join(named)}"
    assert other.startswith("gate f: hardly passes")


def test_groups_count_and_not_prompts(make_plan):
    (warning,) = make_plan(
        make_prompts(60, per_group=3), [{"metric": "violation_rate", "at_most": 1}]
    ).warnings
    assert "20 groups of prompts where it asks for 30" in warning


def test_so_many_groups_rule_out_a_loss_four_times_in_five():
    n = groups_for_no_loss(0.1, discordance=0.2)
    tables = np.random.default_rng(40).multinomial(n, [0.6, 0.1, 0.1, 0.2], size=800)
    lows = [statistics.newcombe(statistics.PairedTable(*map(int, table))).low for table in tables]
    assert 0.74 <= np.mean([low > -0.1 for low in lows]) <= 0.86


def test_a_mean_difference_of_so_many_deviations_is_shown_four_times_in_five():
    effect = detectable_deviations(50)
    values = np.random.default_rng(41).normal(effect, 1, size=(2000, 50))
    t = values.mean(axis=1) / (values.std(axis=1, ddof=1) / np.sqrt(50))
    assert 0.75 <= np.mean(t > 2.01) <= 0.83


def test_the_plan_is_told_before_the_first_answer(project, monkeypatch):
    config, root, prepared, run = project
    happened = []

    def answer(*_, **__):
        happened.append("answered")
        raise KeyboardInterrupt

    monkeypatch.setattr("kit.evaluate.answers.answer", answer)
    with pytest.raises(KeyboardInterrupt):
        evaluate(config, root, prepared, run, Hooks(), lambda found: happened.append(found))
    found, then = happened
    assert then == "answered" and found.metrics[0].name == "violation_rate"
    assert (found.metrics[0].n, found.metrics[0].groups) == (24, 24)


def test_the_command_prints_what_so_many_prompts_show(make_plan, capsys):
    gate = {"metric": "violation_rate", "at_most": 0.05, "bound": "upper", "name": "[few]"}
    cli._announce(make_plan(make_prompts(60), [gate], {"violation_rate": (0.1, "r1-1234")}))
    printed = capsys.readouterr()
    assert "How small a difference these prompts would show, in four cases of five" in printed.out
    row = next(line for line in printed.out.splitlines() if line.startswith("violation_rate"))
    assert (
        row.split()[1:3] == ["60", "60"]
        and "too few prompts" in row
        and "10.0% (measured)" in row
        and "measured in r1-1234" in printed.out
    )
    assert "0.36 SD" in printed.out
    assert printed.err == "warning gate [few]: cannot pass: none in 60 still allows 6%\n"


def test_an_evaluation_that_is_there_already_announces_nothing(project, monkeypatch):
    config, root, prepared, run = project
    monkeypatch.setattr(evaluating, "is_finished", lambda folder, record: True)
    told = []
    evaluate(config, root, prepared, run, Hooks(), told.append)
    assert told == []
