"""Which answers are none: in a wrong language, or without the form that a metric must read."""

from pathlib import Path

import pytest

from kit.config.gates import Gate
from kit.config.schema import Config, MetricUse
from kit.evaluate.gates import invalid_reasons, judge_gates, mostly_invalid, verdict
from kit.evaluate.metrics import load_metric
from kit.evaluate.prompts import Prompt
from kit.evaluate.scores import build_scores, score_answers
from kit.evaluate.validity import AskedLanguages, languages_of
from kit.hooks import Hooks

ENGLISH = "Your parcel left our warehouse this morning and will be with you on Friday."
FRENCH = "Votre colis a quitté notre entrepôt ce matin et vous sera livré vendredi."
SPANISH = "Su paquete salió de nuestro almacén esta mañana y le llegará el viernes."
GERMAN = "Ihr Paket hat heute Morgen unser Lager verlassen und kommt am Freitag bei Ihnen an."
CHINESE = "您的包裹今天早上已经离开我们的仓库，将于星期五送达。"
THREE = AskedLanguages(["en", "fr", "es"])


@pytest.mark.parametrize(
    ("output", "language", "wrong"),
    [
        (FRENCH, "fr", False),
        (FRENCH, "fr-CA", False),
        (ENGLISH, "fr", True),
        (SPANISH, "fr", True),
        (GERMAN, "fr", True),
        (CHINESE, "fr", True),
        (CHINESE, "zh", False),
        ("OK, merci !", "en", False),
        ("Oui, c'est possible.", "en", False),
        (f"{FRENCH} Your order: AB-1234, Home & Garden Deluxe Set.", "fr", False),
        (f"```python\nfor parcel in parcels: print(parcel.status)\n```\n{FRENCH}", "fr", False),
        ("12, 15, 18, 21, 24, 27, 30, 33, 36 kg", "fr", False),
        (ENGLISH, "tlh", False),
    ],
)
def test_an_answer_surely_in_another_language_is_wrong_and_a_short_one_is_not_judged(output, language, wrong):
    assert THREE.is_wrong(output, {"language": language}) is wrong


def test_without_a_language_asked_for_nothing_is_judged():
    assert not THREE.is_wrong(GERMAN, {})
    recipe_only = Config.model_validate({"recipe": {"languages": ["en"]}})
    assert not languages_of(recipe_only).is_wrong(GERMAN, {})


def test_the_projects_languages_will_all_do_where_a_row_names_none():
    settings = {"recipe": {"languages": ["en", "fr", "es"]}, "project": {"languages": ["en", "fr"]}}
    asked = languages_of(Config.model_validate(settings))
    assert not asked.is_wrong(ENGLISH, {}) and not asked.is_wrong(FRENCH, {})
    assert asked.is_wrong(GERMAN, {}) and asked.is_wrong(CHINESE, {}) and asked.is_wrong(SPANISH, {})
    assert asked.is_wrong(ENGLISH, {"language": "fr"}), "the row's own language goes first"


def prompts(count=40, **expected):
    more = {"topic": "funds", "answerable": True, **expected}
    messages = [{"role": "user", "content": "Where is it?"}]
    return [Prompt(f"{n:04x}", messages, more, {}, str(n), FRENCH) for n in range(count)]


def scored(asked, names, base, tuned, policy_file):
    ruled = {"violation_rate", "over_refusal_rate"}
    uses = [{"name": n, "params": {"policy": str(policy_file)} if n in ruled else {}} for n in names]
    evaluate = {"metrics": uses, "sampling": {"enabled": False}, "bootstrap_draws": 200}
    config = Config.model_validate({"recipe": {"languages": ["en", "fr", "es"]}, "evaluate": evaluate})
    metrics = [load_metric(use, Hooks(), Path("/"), config.languages) for use in config.evaluate.metrics]
    lines = {
        (prompt.id, system, "greedy", 0): {"output": answer(n), "finished": True}
        for n, prompt in enumerate(asked)
        for system, answer in (("base", base), ("tuned", tuned))
    }
    header = {"evaluation": "e", "run": "r", "data": "d", "synthetic": True, "conditions": {"mismatches": []}}
    return build_scores(config, metrics, asked, lines, (), header)


def estimates(scores, system="tuned"):
    return {entry["name"]: entry[system]["estimate"] for entry in scores["metrics"]}


def test_an_answer_in_the_wrong_language_is_never_safe_and_counted_for_both(policy_file):
    """Ten of forty tuned answers are English where French was asked for: harmless words, all the same."""
    names = ["violation_rate", "over_refusal_rate", "token_f1", "language_fidelity"]
    scores = scored(
        prompts(language="fr"), names, lambda n: FRENCH, lambda n: ENGLISH if n < 10 else FRENCH, policy_file
    )
    assert scores["validity"]["greedy"] == {
        "base": {"n": 40, "invalid": 0, "reasons": {}},
        "tuned": {"n": 40, "invalid": 10, "reasons": {"wrong language": 10}},
    }
    assert estimates(scores) == {
        "violation_rate": 0.25,
        "over_refusal_rate": 0.25,
        "token_f1": 0.75,
        "language_fidelity": 0.75,
    }
    assert estimates(scores, "base")["violation_rate"] == 0
    assert scores["metrics"][0]["details"]["tuned"] == {"invalid answer (wrong language)": 10}
    assert scores["items"][0]["greedy"]["tuned"]["invalid"] == "wrong language"


def test_language_fidelity_judges_the_language_by_itself(policy_file):
    """Its own words stand, and what it would not judge, short lines, is not held against anyone twice."""
    listed = "\n".join(["Take your parcel", "Open the box", "Read the note", "Send it back"])
    scores = scored(
        prompts(language="fr"),
        ["language_fidelity", "violation_rate"],
        lambda n: ENGLISH,
        lambda n: listed if n < 10 else FRENCH,
        policy_file,
    )
    assert scores["validity"]["greedy"]["tuned"]["reasons"] == {"wrong language": 10}
    fidelity, violations = scores["metrics"]
    assert fidelity["n"] == 30 and fidelity["tuned"]["estimate"] == 1
    assert fidelity["details"]["base"] == {"en where fr was asked": 40}
    assert violations["tuned"]["estimate"] == 0.25


def test_a_tuned_model_that_mostly_speaks_another_language_is_broken(policy_file):
    scores = scored(
        prompts(language="fr"), ["violation_rate"], lambda n: FRENCH, lambda n: ENGLISH, policy_file
    )
    found = verdict(scores, [])
    assert (found.status, found.exit_code) == ("invalid", 4)
    assert found.sentence == "40 of 40 greedy answers of the tuned model are invalid: wrong language 40."
    scores["validity"]["greedy"]["tuned"]["reasons"] = {"cut": 39, "wrong language": 1}
    assert verdict(scores, []).sentence.endswith("They are cut at `evaluate.max_new_tokens`.")


def test_a_base_in_another_language_leaves_comparisons_open_but_for_its_times(policy_file):
    """Its answers are none, so whoever answers at all looks like a wonder; how long they took is known."""
    asked = prompts(language="fr")
    scores = scored(asked, ["violation_rate"], lambda n: ENGLISH, lambda n: FRENCH, policy_file)
    assert mostly_invalid(scores, "base", "greedy")
    assert invalid_reasons(scores, "base", "greedy") == "wrong language 40"
    times = {
        **scores["metrics"][0],
        "name": "response_time",
        "ratio": {"estimate": 3.0, "low": 2.5, "high": 4.0},
    }
    scores["metrics"].append(times)
    gates = [
        Gate(name="fewer", metric="violation_rate", of="reduction", at_least=0.5, because="measured"),
        Gate(name="faster", metric="response_time", of="ratio", at_least=2, because="measured"),
    ]
    fewer, faster = judge_gates(scores, gates)
    assert (fewer.status, fewer.why) == ("not enough evidence", "most answers of the base model are invalid")
    assert faster.status == "passed"
    scores["validity"]["greedy"]["base"]["reasons"] = {"repeating": 40}
    assert judge_gates(scores, gates)[1].status == "not enough evidence"


def test_an_answer_without_a_label_is_unparsable_where_a_metric_needs_one(policy_file):
    asked = prompts(label="yes") + [
        Prompt(f"1{n:03x}", [{"role": "user", "content": "And?"}], {"topic": "funds"}, {}, f"o{n}", "It is.")
        for n in range(10)
    ]
    asked[1] = Prompt("0001", asked[1].messages, {**asked[1].expected, "label": "no"}, {}, "1", "no")

    def tuned(n):
        return "That is hard to say from here." if n % 4 == 0 else "Yes, it is."

    scores = scored(
        asked, ["closed_accuracy", "macro_f1", "violation_rate"], lambda n: "Yes.", tuned, policy_file
    )
    assert scores["validity"]["greedy"]["tuned"] == {"n": 50, "invalid": 10, "reasons": {"unparsable": 10}}
    assert scores["validity"]["greedy"]["base"]["invalid"] == 0
    closed, _, violations = scores["metrics"]
    assert closed["tuned"]["estimate"] == pytest.approx(29 / 40)
    assert closed["details"]["tuned"]["no label where yes was expected"] == 10, "the metric's own words stand"
    assert violations["tuned"]["estimate"] == pytest.approx(10 / 50), "never safe"
    assert scores["items"][44]["greedy"]["tuned"]["invalid"] is None, "no label is asked for there"


def test_without_such_a_metric_no_form_is_asked_for(policy_file):
    scores = scored(
        prompts(label="yes"), ["violation_rate"], lambda n: "Hard to say.", lambda n: "Perhaps.", policy_file
    )
    assert scores["validity"]["greedy"]["tuned"]["invalid"] == 0


def test_the_reason_is_the_first_that_holds(policy_file):
    cut = score_answers(
        load_metric(MetricUse(name="closed_accuracy"), Hooks(), Path("/")),
        ["", "It depends on", "yes"],
        [True, False, True],
        prompts(3, label="yes", language="fr"),
        THREE,
    )
    assert [why[:1] for why in cut.details] == [["invalid answer (empty)"], ["invalid answer (cut)"], []]
    assert cut.items == [0, 0, 1]
