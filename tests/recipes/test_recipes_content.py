"""The shipped recipes: they validate, aim at the published cases, and their dialogues hold their policy."""

import shutil
import tomllib
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kit.config.layers import load_config, validate_tree
from kit.config.schema import Config, MetricUse
from kit.config.yaml_lines import load_yaml
from kit.data.grammar_load import load_grammar
from kit.data.language import LanguageDetector
from kit.data.synth import synthesize
from kit.evaluate.metrics import load_metric, score
from kit.evaluate.policy import Policy, load_policy
from kit.evaluate.policy_examples import problems_of
from kit.hooks import Hooks

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
CASES = sorted(path.name for path in RECIPES.iterdir() if path.is_dir())
PUBLISHED = ["ecommerce", "finance", "medical"]
ROWS = 2000
POLICY_METRICS = {
    "violation_rate",
    "disclosure_rate",
    "over_refusal_rate",
    "recommendation_accuracy",
    "escalation_recall",
    "refusal_rate",
    "hand_over_rate",
    "under_triage",
    "over_triage",
    "contradiction",
}
LOWER = {"violation_rate", "over_refusal_rate", "under_triage", "over_triage", "contradiction"}
# What general answers do not get wrong: form, and what is held against the answer itself here.
ALIKE = {"over_refusal_rate", "slot_accuracy", "locale_form", "placeholder_fidelity", "contradiction"}

Row = dict[str, Any]


@cache
def recipe(case: str) -> Config:
    tree, lines = load_yaml(RECIPES / case / "recipe.yaml")
    return validate_tree(tree, {key: f"{case}:{line}" for key, line in lines.items()})


@cache
def policy(case: str) -> Policy:
    return load_policy(RECIPES / case / "policy.yaml")


@cache
def rows(case: str, answers: str) -> list[Row]:
    return list(synthesize(load_grammar(RECIPES / case / "dialogues.yaml"), ROWS, 20, answers))


def answer(row: Row) -> str:
    return row["messages"][-1]["content"]


def reference(row: Row) -> Row:
    """What the metrics are given of a row: `asks` of a rule looks at the question."""
    asked = [message["content"] for message in row["messages"] if message["role"] == "user"]
    return {**row, "prompt": asked[-1], "answer": answer(row)}


def faults(case: str, row: Row) -> list[str]:
    """What is wrong with a row's answer, in the words of the case's own metrics."""
    rules, text = policy(case), answer(row)
    given = reference(row)
    found = [*rules.violations(text, given), *rules.missing(text, given)]
    if row["answerable"] and rules.is_refusal(text):
        found.append("refused")
    found += [
        f"left out {choices}"
        for choices in row.get("required", [])
        if not any(choice.casefold() in text.casefold() for choice in choices)
    ]
    found += [f"said {phrase}" for phrase in row.get("forbidden", []) if phrase.casefold() in text.casefold()]
    if row.get("recommendation") and rules.recommendation(text) != row["recommendation"]:
        found.append(f"recommended {rules.recommendation(text)}, not {row['recommendation']}")
    return found


# --- the recipe ---------------------------------------------------------------------------------------


def test_there_are_four_recipes_with_their_files() -> None:
    assert CASES == ["blank", "ecommerce", "finance", "medical"]
    for case in CASES:
        names = {path.name for path in (RECIPES / case).iterdir()}
        assert names == {"README.md", "dialogues.yaml", "policy.yaml", "recipe.yaml"}


@pytest.mark.parametrize("case", CASES)
def test_the_seeds_profile_is_the_recipes_own_default(case: str) -> None:
    config = recipe(case)
    assert config.recipe.name == case
    assert config.tier is None
    assert (config.train.learning_rate, config.train.global_batch_size) == (3e-5, 32)
    assert (config.train.num_train_epochs, config.method.name, config.method.rank) == (5, "lora", 8)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tier", ["tiny", "startup", "medium", "large"])
def test_every_tier_resolves_and_names_its_licence(tmp_path: Path, case: str, tier: str) -> None:
    (tmp_path / "conf").mkdir()
    shutil.copy(RECIPES / case / "recipe.yaml", tmp_path / "conf" / "recipe.yaml")
    config = load_config(tmp_path, [f"tier={tier}"]).config
    offered = config.tiers[tier]
    assert offered.licence and offered.needs and offered.title
    wanted = {"tiny": "full", "startup": "lora", "medium": "full", "large": "qlora"}
    assert config.method.name == wanted[tier]
    assert (config.model.name == "tiny") == (tier == "tiny")


def test_the_published_models_stand_among_the_alternatives_with_their_conversion() -> None:
    models = {
        "finance": "baichuan-inc/Baichuan2-13B-Chat",
        "medical": "zai-org/chatglm3-6b",
        "ecommerce": "Qwen/Qwen-7B-Chat",
    }
    for case, model in models.items():
        alternatives = [line for tier in recipe(case).tiers.values() for line in tier.alternatives]
        [line] = [line for line in alternatives if line.startswith(model)]
        assert "licence" in line and "conversion" in line


def test_the_published_claims_are_there() -> None:
    claims = {
        (case, claim.metric, claim.of, claim.at_least) for case in CASES for claim in recipe(case).claims
    }
    assert claims == {
        ("finance", "violation_rate", "reduction", 0.82),
        ("medical", "recommendation_accuracy", "tuned", 0.91),
        ("ecommerce", "response_time", "ratio", 4),
        ("ecommerce", None, "tuned", 0.6),
    }
    volumes = {case: recipe(case).data.sources[0].dialogues for case in PUBLISHED}
    assert volumes["finance"] == 2000 and volumes["medical"] == 20_000
    assert recipe("ecommerce").languages == ["en", "fr", "es"]


@pytest.mark.parametrize("case", PUBLISHED)
def test_a_claim_says_what_is_claimed_of_how_many_and_how_near_is_near_enough(case: str) -> None:
    for claim in recipe(case).claims:
        assert {"definition", "unit", "min_n", "margin", "source"} <= claim.model_fields_set, claim.name
        assert len(claim.definition) > 60 and claim.source


@pytest.mark.parametrize("case", CASES)
def test_every_gate_says_why_and_the_recipe_says_what_it_is_not_for(case: str) -> None:
    config = recipe(case)
    assert config.gates and all(gate.because for gate in config.gates)
    assert config.recipe.not_for and config.recipe.summary


@pytest.mark.parametrize("case", CASES)
def test_the_recipe_holds_no_jinja_marks_and_points_at_the_schema(case: str) -> None:
    for path in (RECIPES / case).glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert not any(mark in text for mark in ("{{", "}}", "{%", "{#")), path
    first = (RECIPES / case / "recipe.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=schema.json"


@pytest.mark.parametrize("case", CASES)
def test_the_columns_that_metrics_and_slices_need_are_in_the_rows(case: str) -> None:
    config = recipe(case)
    columns = set(rows(case, "good")[0])
    needed = {*config.data.expected, *config.data.slices, config.data.split.column}
    assert needed | {config.data.split.group_by} <= columns


# --- the policy and the dialogues -----------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_every_rule_has_examples_of_both_kinds_and_they_hold(case: str) -> None:
    assert problems_of(policy(case)) == []
    for rule in policy(case).rules:
        assert rule.examples.violates and rule.examples.complies and rule.source, rule.id


def test_medical_rules_look_at_what_is_asked() -> None:
    """Self-harm, pregnancy and small babies are found in the question, whatever labels a row has."""
    questions = [reference(row)["prompt"] for row in rows("medical", "good")]
    asked = {
        rule.id: sum(rule.asked_in(question) for question in questions)
        for rule in policy("medical").rules
        if rule.asks
    }
    assert set(asked) == {"M6", "M7", "M8", "M9", "M9b"}
    assert asked["M6"] > 5 and asked["M8"] > 20
    severe = {rule.id for rule in policy("medical").rules if rule.severity == "critical"}
    assert {"M3", "M6", "M8", "M9", "M9b"} <= severe


@pytest.mark.parametrize("case", PUBLISHED)
def test_a_real_model_is_held_to_no_critical_violation_in_299_answers(tmp_path: Path, case: str) -> None:
    (tmp_path / "conf").mkdir()
    shutil.copy(RECIPES / case / "recipe.yaml", tmp_path / "conf" / "recipe.yaml")
    for tier in ("startup", "medium", "large"):
        gates = load_config(tmp_path, [f"tier={tier}"]).config.gates
        strict = {gate.metric: gate.min_n for gate in gates if gate.zero_tolerance == "critical"}
        omissions = {"disclosure_rate": 30} if case == "medical" else {}
        assert strict == {"violation_rate": 299, **omissions}
    for gate in load_config(tmp_path, ["tier=tiny"]).config.gates:
        assert gate.zero_tolerance is None and gate.min_n <= 160, "tiny is asked 160 prompts"


def test_finance_covers_its_whole_taxonomy() -> None:
    codes = {rule.id.rstrip("b") for rule in policy("finance").rules}
    assert codes == {f"F{number}" for number in range(1, 11)}


@pytest.mark.parametrize("case", CASES)
def test_every_good_answer_passes_policy_and_facts(case: str) -> None:
    wrong = [
        (row["intent"], answer(row), found) for row in rows(case, "good") if (found := faults(case, row))
    ]
    assert wrong == []


def mean(case: str, use: MetricUse, answers: str) -> float | None:
    """A metric of the recipe over its synthetic answers, as `casekit evaluate` computes it."""
    params = dict(use.params)
    if use.name in POLICY_METRICS:
        params["policy"] = str(RECIPES / case / "policy.yaml")
    loaded = load_metric(use.model_copy(update={"params": params}), Hooks(), ROOT, recipe(case).languages)
    chosen = rows(case, answers)[:400]
    return score(loaded, [answer(row) for row in chosen], list(map(reference, chosen))).mean


@pytest.mark.parametrize("case", CASES)
def test_every_metric_of_the_recipe_calls_good_answers_right_and_general_ones_worse(case: str) -> None:
    for use in recipe(case).evaluate.metrics:
        if use.name == "token_f1":
            continue  # an overlap has no right value
        best = 0.0 if use.name in LOWER else 1.0
        assert mean(case, use, "good") == best, use.name
        found = mean(case, use, "general")
        if use.name not in ALIKE:
            assert found is not None and abs(found - best) > 0.08, (use.name, found)


@pytest.mark.parametrize("case", CASES)
def test_out_of_scope_questions_are_declined(case: str) -> None:
    outside = [row for row in rows(case, "good") if not row["answerable"]]
    assert len(outside) > 50
    assert all(policy(case).is_refusal(answer(row)) for row in outside)


@pytest.mark.parametrize("case", CASES)
def test_a_general_model_errs_in_about_half_of_the_answers(case: str) -> None:
    share = sum(bool(faults(case, row)) for row in rows(case, "general")) / ROWS
    assert 0.35 <= share <= 0.7


@pytest.mark.parametrize("case", PUBLISHED)
def test_a_general_models_faults_follow_from_the_question(case: str) -> None:
    """Greedy decoding shows a fault only where the question decides it; a fixed share would vanish."""
    by_kind: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for row in rows(case, "general"):
        by_kind[row["intent"], row["tone"]].append(bool(faults(case, row)))
    decided = sum(len(found) for found in by_kind.values() if sum(found) / len(found) in (0.0, 1.0))
    assert decided / ROWS > 0.9
    assert {sum(found) / len(found) for found in by_kind.values()} >= {0.0, 1.0}


@pytest.mark.parametrize("rule", ["F1", "F1b", "F3", "F4", "F5", "F6", "F7", "F8", "F9", "F10"])
def test_a_general_bank_chat_shows_every_kind_of_violation(rule: str) -> None:
    codes = Counter(
        code for row in rows("finance", "general") for code in policy("finance").violations(answer(row), row)
    )
    assert codes[rule] >= 15


def test_medical_has_all_five_levels_and_played_down_emergencies() -> None:
    levels = Counter(row["recommendation"] for row in rows("medical", "good"))
    assert set(levels) == {None, *policy("medical").recommendations}
    assert min(levels.values()) > 60
    mild = [row for row in rows("medical", "general") if row["red_flag"] and row["tone"] == "mild"]
    assert len(mild) > 60
    assert {policy("medical").recommendation(answer(row)) for row in mild} == {"self_care"}


@pytest.mark.parametrize("case", CASES)
def test_answers_are_short_enough_to_learn_and_long_enough_to_say_something(case: str) -> None:
    lengths = [len(answer(row).split()) for row in rows(case, "good")]
    assert min(lengths) >= 24 and max(lengths) <= 70


def test_finance_and_medical_have_plain_answerable_questions() -> None:
    for case in ("finance", "medical"):
        plain = [row for row in rows(case, "good") if row["answerable"] and row["tone"] == "plain"]
        assert len(plain) > ROWS / 4


# --- languages --------------------------------------------------------------------------------------------


def test_a_third_of_ecommerce_is_in_each_language() -> None:
    shares = Counter(row["language"] for row in rows("ecommerce", "good"))
    assert set(shares) == {"en", "fr", "es"}
    assert all(0.28 < count / ROWS < 0.39 for count in shares.values())


def test_french_and_spanish_are_written_as_people_write_them() -> None:
    by_language = defaultdict(list)
    for row in rows("ecommerce", "good"):
        by_language[row["language"]].append(answer(row))
    french, spanish = by_language["fr"], by_language["es"]
    assert sum(any(letter in text for letter in "éèêàçôù") for text in french) / len(french) > 0.95
    assert sum(any(letter in text for letter in "áéíóúñ") for text in spanish) / len(spanish) > 0.95
    assert any("«" in text for text in french)
    assert not any(word in f" {text.casefold()} " for text in french for word in (" tu ", " ton ", " tes "))
    asked = [row["messages"][-2]["content"] for row in rows("ecommerce", "good") if row["language"] == "es"]
    assert sum("¿" in text or "¡" in text for text in asked) / len(asked) > 0.5


def test_the_detector_agrees_on_good_answers_and_sees_the_wrong_language_in_general_ones() -> None:
    detector = LanguageDetector(["en", "fr", "es"])

    def agreement(answers: str, language: str) -> float:
        chosen = [row for row in rows("ecommerce", answers) if row["language"] == language][:200]
        return sum(detector.language(answer(row)) == language for row in chosen) / len(chosen)

    assert all(agreement("good", language) > 0.95 for language in ("en", "fr", "es"))
    assert all(0.3 < agreement("general", language) < 0.7 for language in ("fr", "es"))


def test_the_wheel_carries_the_recipes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]["recipes"]
