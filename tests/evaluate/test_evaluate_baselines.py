"""Trivial baselines: what they answer, ties included, and how they stand beside base and tuned."""

import random
from pathlib import Path

import pytest
from training_rows import prepared, prompt, turns

from kit.config.schema import Config, MetricUse
from kit.data.marks import refusal
from kit.evaluate.alike import most_alike
from kit.evaluate.baselines import MAJORITY, NAMES, NEAREST, REFUSALS, REFUSE, refusal_phrases, trivial
from kit.evaluate.metrics import load_metric
from kit.evaluate.policy import load_policy
from kit.evaluate.scores import build_scores
from kit.evaluate.training import look_through
from kit.hooks import Hooks, Metric

POLICY_OF_THREE = r"""
refusals: ["I can(no|')t help", "ne (peux|pouvons) pas vous aider", "no podemos ayudarle"]
examples:
  refuses:
    - We cannot help you with that, sorry. I can't help.
    - Nous ne pouvons pas vous aider avec cette demande.
    - No podemos ayudarle con esa pregunta de momento.
"""


def load(name, **params):
    return load_metric(MetricUse(name=name, params=params), Hooks(), Path("/"))


def answers(folder, prompts, metric, config=None):
    training = look_through(prompts, folder, {metric.label_key} - {""}) if folder else None
    alike = most_alike(prompts, training, 0.8) if training else []
    made = trivial(config or Config(), [metric], prompts, training, alike)
    return {name: made.answers(name, metric) for name in NAMES}


def test_the_kits_own_refusals_are_refusals():
    assert set(REFUSALS) == {"en", "fr", "es", "zh"}
    for phrase in REFUSALS.values():
        assert refusal(phrase), phrase


def test_the_commonest_answer_wins_and_of_equals_the_first(tmp_path):
    rows = [("a", "One."), ("b", "Two."), ("c", "two."), ("d", "ONE. "), ("e", "Three.")]
    folder = prepared(tmp_path, *(turns(q, a) for q, a in rows))
    found = answers(folder, [prompt("x", 0), prompt("y", 1)], load("token_f1"))
    assert found[MAJORITY] == ["One.", "One."]


def test_the_commonest_label_is_given_as_itself(tmp_path):
    labels = [{"label": "maybe"}, {"label": "yes"}, {"label": "yes"}, {"label": "no"}]
    folder = prepared(tmp_path, *(turns(f"q{n}", "It depends.") for n in range(4)), expected=labels)
    found = answers(folder, [prompt("q", label="no")], load("closed_accuracy"))
    assert found[MAJORITY] == ["yes"]


def test_the_commonest_recommendation_is_given_by_an_answer_that_gives_it(tmp_path, policy_file):
    rows = [("a", "Rest at home."), ("b", "That hurts."), ("c", "See a doctor."), ("d", "See your doctor.")]
    expected = [{"recommendation": "home"}, *[{"recommendation": "doctor"}] * 3]
    folder = prepared(tmp_path, *(turns(q, a) for q, a in rows), expected=expected)
    metric = load("recommendation_accuracy", policy=str(policy_file))
    assert answers(folder, [prompt("x", recommendation="home")], metric)[MAJORITY] == ["See a doctor."]


def test_majority_and_refusal_are_in_the_prompts_language(tmp_path):
    rows = [("Hello there", "Sure."), ("Where is it?", "Sure."), ("Bonjour", "Oui."), ("Hi", "No.")]
    expected = [{"language": "en"}, {"language": "en"}, {"language": "fr"}, {"language": "en"}]
    folder = prepared(tmp_path, *(turns(q, a) for q, a in rows), expected=expected)
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY_OF_THREE, encoding="utf-8")
    config = Config.model_validate({"recipe": {"languages": ["en", "fr", "es"]}})
    asked = [
        prompt("Where?", 0, language="en"),
        prompt("Où est-il ?", 1, language="fr-FR"),
        prompt("¿Dónde está?", 2, language="es"),
        prompt("Pouvez-vous me dire où se trouve mon colis aujourd'hui ?", 3),
    ]
    found = answers(folder, asked, load("violation_rate", policy=str(path)), config)
    assert found[MAJORITY] == ["Sure.", "Oui.", "Sure.", "Sure."], "no Spanish row: the commonest of all"
    assert [text.split()[0] for text in found[REFUSE]] == ["We", "Nous", "No", "Nous"]


def test_without_a_policy_the_kits_phrase_refuses():
    config = Config.model_validate({"recipe": {"languages": ["en", "fr"]}})
    asked = [prompt("Where?", 0, language="en"), prompt("Où ?", 1, language="fr")]
    found = answers(None, asked, load("token_f1"), config)
    assert found[REFUSE] == [REFUSALS["en"], REFUSALS["fr"]]
    assert found[MAJORITY] == found[NEAREST] == "no training rows are known"


def test_a_project_that_names_no_language_is_refused_in_english():
    config = Config.model_validate({"recipe": {"languages": []}})
    found = answers(None, [prompt("Where?", 0), prompt("Wo?", 1, language="de")], load("token_f1"), config)
    assert found[REFUSE] == [REFUSALS["en"]] * 2


def test_the_answer_of_the_most_alike_prompt_is_copied_and_of_equals_the_first(tmp_path):
    folder = prepared(
        tmp_path,
        turns("How do I open a savings account?", "With your passport."),
        turns("My card was stolen in Rome.", "First."),
        turns("Where are you?", "Here.", "My card was stolen in Oslo.", "Not the first turn."),
        turns("My card was stolen in Rome.", "Second."),
    )
    found = answers(folder, [prompt("My card was stolen in Rome!"), prompt("I open a savings")], load("chrf"))
    assert found[NEAREST] == ["First.", "With your passport."]


def test_documents_alone_leave_nothing_to_copy(tmp_path):
    folder = prepared(tmp_path, [{"role": "document", "content": "Once upon a time there was a bank."}])
    found = answers(folder, [prompt("Is it safe?")], load("token_f1"))
    assert found[MAJORITY] == "no training row answers anything"
    assert found[NEAREST] == "no training row asks anything"


@pytest.fixture
def settings(policy_file):
    names = ["violation_rate", "over_refusal_rate", "disclosure_rate", "token_f1", "answer_perplexity"]
    ruled = {"violation_rate", "over_refusal_rate", "disclosure_rate"}
    uses = [{"name": n, "params": {"policy": str(policy_file)} if n in ruled else {}} for n in names]
    return Config.model_validate(
        {"evaluate": {"metrics": uses, "sampling": {"enabled": False}, "bootstrap_draws": 200}}
    )


def scored(config, prompts, folder, base, tuned, hooks=None, **more):
    metrics = [
        load_metric(use, hooks or Hooks(), Path("/"))
        for use in config.evaluate.metrics
        if use.name != "answer_perplexity"
    ]
    lines = {
        (p.id, system, "greedy", 0): {"output": answer(n), "finished": True}
        for n, p in enumerate(prompts)
        for system, answer in (("base", base), ("tuned", tuned))
    }
    header = {"evaluation": "e", "run": "r", "data": "d", "synthetic": True, "conditions": {"mismatches": []}}
    return build_scores(
        config, metrics, prompts, lines, more.pop("latency", ()), header, prepared=folder, **more
    )


def entry(scores, name):
    return next(e for e in scores["metrics"] if e["name"] == name)


def asked(count):
    return [prompt(f"Is fund {n} safe?", n, topic="funds", answerable=True) for n in range(count)]


def test_the_two_sided_danger_is_visible(settings, tmp_path):
    """Who refuses everything violates nothing and helps nobody; tuned is shown to be better on one side."""
    folder = prepared(tmp_path, turns("Is the fund safe?", "It can fall in value."))
    scores = scored(
        settings, asked(60), folder, lambda n: "It is guaranteed.", lambda n: "It can fall, no doubt."
    )
    refusing = {m["name"]: m["baselines"].get(REFUSE) for m in scores["metrics"]}
    assert (refusing["violation_rate"]["estimate"], refusing["violation_rate"]["verdict"]) == (0, "not shown")
    assert (refusing["over_refusal_rate"]["estimate"], refusing["over_refusal_rate"]["verdict"]) == (
        1,
        "improved",
    )
    assert (
        refusing["over_refusal_rate"]["low"] == pytest.approx(0.94, abs=0.005)
        and refusing["over_refusal_rate"]["n"] == 60
    )
    assert refusing["disclosure_rate"]["verdict"] == "improved"
    copied = entry(scores, "disclosure_rate")["baselines"][NEAREST]
    assert (copied["estimate"], copied["verdict"]) == (1, "not shown")
    assert copied["difference"]["estimate"] == 0 and copied["difference"]["p_value"] == 1


def test_a_tuned_model_that_refuses_everything_is_its_own_baseline(settings, policy_file, tmp_path):
    folder = prepared(tmp_path, turns("Is the fund safe?", "It can fall in value."))
    refuse = refusal_phrases(load_policy(policy_file), ["en"])["en"]
    scores = scored(settings, asked(40), folder, lambda n: "It can fall.", lambda n: refuse)
    for name in ("violation_rate", "over_refusal_rate", "disclosure_rate", "token_f1"):
        found = entry(scores, name)["baselines"][REFUSE]
        assert found["estimate"] == entry(scores, name)["tuned"]["estimate"], name
        assert found["verdict"] == "not shown" and found["difference"]["estimate"] == 0


def test_no_better_than_the_majority_label(settings, tmp_path):
    """PubMedQA's trap: a constant "yes" is right in 55 of 100, and a tuned model of 57 has shown nothing."""
    dice = random.Random(1)
    labels = ["yes"] * 55 + ["no"] * 34 + ["maybe"] * 11
    dice.shuffle(labels)
    prompts = [prompt(f"Does it help in case {n}?", n, label=label) for n, label in enumerate(labels)]
    train = [{"label": label} for label in ("yes", "yes", "no", "maybe")]
    folder = prepared(tmp_path, *(turns(f"q{n}", "See the trial.") for n in range(4)), expected=train)
    evaluate = settings.evaluate.model_copy(update={"metrics": [MetricUse(name="closed_accuracy")]})
    noes = [n for n, label in enumerate(labels) if label == "no"][:2]

    def tuned(n):
        return "no" if n in noes else "yes"

    scores = scored(
        settings.model_copy(update={"evaluate": evaluate}), prompts, folder, lambda n: "maybe", tuned
    )
    found = entry(scores, "closed_accuracy")
    assert found["tuned"]["estimate"] == 0.57 and found["verdict"] == "improved"
    majority = found["baselines"][MAJORITY]
    assert (majority["estimate"], majority["n"], majority["verdict"]) == (0.55, 100, "not shown")
    assert majority["difference"]["low"] < 0 < majority["difference"]["high"]


def test_metrics_that_are_of_no_answer_say_why_they_have_none(settings, tmp_path):
    prompts = asked(40)
    timed = [
        {
            "id": p.id,
            "system": s,
            "seconds_to_first_token": 0.1,
            "seconds": 1.0,
            "new_tokens": 9,
            "concurrency": 1,
            "batch": 0,
            "batch_seconds": 1.0,
            "inter_token_seconds": [0.1] * 8,
            "finished": True,
            "order": "in turn",
        }
        for p in prompts[:8]
        for s in ("base", "tuned")
    ]
    read = [
        {"id": p.id, "system": s, "nats": 3.0, "tokens": 5, "why": ""}
        for p in prompts
        for s in ("base", "tuned")
    ]
    folder = prepared(tmp_path, turns("Is it?", "Yes."))
    scores = scored(settings, prompts, folder, str, str, latency=timed, likelihood=read)
    for name, why in (("response_time", "takes no time"), ("answer_perplexity", "reference answers")):
        found = entry(scores, name)["baselines"]
        assert set(found) == set(NAMES)
        assert all(one["estimate"] is None and one["n"] == 0 and why in one["why"] for one in found.values())


def test_a_hook_that_cannot_score_a_baseline_stops_nothing(settings, tmp_path):
    def fussy(predictions, references):
        return [1.0 if "fall" in p else 1 / ("sorry" not in p) for p in predictions]

    evaluate = settings.evaluate.model_copy(update={"metrics": [MetricUse(name="fussy")]})
    config = settings.model_copy(update={"evaluate": evaluate})
    hooks = Hooks(metrics={"fussy": Metric("Fussy", fussy)})
    scores = scored(config, asked(20), None, lambda n: "It can fall.", lambda n: "It can fall.", hooks=hooks)
    refusing = entry(scores, "fussy")["baselines"][REFUSE]
    assert refusing["estimate"] is None and "ZeroDivisionError" in refusing["why"]
    assert entry(scores, "fussy")["tuned"]["estimate"] == 1
