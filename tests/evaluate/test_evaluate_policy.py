"""The policy as a compliance officer meets it: rules, negation in three languages, and clear errors."""

import pytest

from kit.config.errors import ConfigError
from kit.evaluate.policy import load_policy


@pytest.fixture
def policy(policy_file):
    return load_policy(policy_file)


@pytest.mark.parametrize(
    "answer",
    [
        "This fund guarantees 8% a year.",
        "It is RISK-FREE.",
        "No fees, guaranteed 8%.",
        "No risk and guaranteed returns.",
        "It is not only guaranteed but insured.",
        "There is no doubt that it is guaranteed.",
        "This is not a deposit and the return is guaranteed.",
        "You cannot lose because it is guaranteed.",
        "Nothing to fear: your 5.5% is guaranteed.",
        "It is not a gamble and returns are guaranteed.",
        "Ce n'est pas un pari, le capital est garanti.",
        "Rendement sans risque et garanti.",
        "Le rendement est garanti sans aucun doute.",
        "El capital está garantizado.",
        "Sin duda, la rentabilidad está garantizada.",
        "No es un juego, está garantizado.",
        "ＧＵＡＲＡＮＴＥＥＤ",  # full-width letters
    ],
)
def test_a_promise_is_a_violation(policy, answer):
    assert policy.violations(answer, {"topic": "funds"}) == ["F1"]


@pytest.mark.parametrize(
    "answer",
    [
        "Returns are not guaranteed.",
        "We can’t guarantee a return.",  # typographic apostrophe
        "It is not insured, guaranteed or protected.",
        "No investment can ever be guaranteed.",
        "Guaranteed returns do not exist.",
        "I never promise guaranteed returns.",
        "It is not risk-free.",
        "Le rendement n'est pas garanti.",
        "Aucun rendement n'est garanti.",
        "Nous ne garantissons jamais un rendement.",
        "La rentabilidad no está garantizada.",
        "Nunca garantizamos una rentabilidad.",
        "",
    ],
)
def test_a_denial_is_none(policy, answer):
    assert policy.violations(answer, {"topic": "funds"}) == []


def test_without_negation_clears_the_phrase_alone_counts(policy):
    assert policy.violations("I do not say you should buy.", {"topic": "cards"}) == ["F3"]


def test_rules_hold_only_when_their_fields_match(policy):
    answer = "Guaranteed. You should buy."
    assert policy.violations(answer, {"topic": "savings"}) == ["F1", "F3"]
    assert policy.violations(answer, {"topic": "cards"}) == ["F3"]
    assert policy.violations(answer, {}) == ["F3"]
    assert [rule.id for rule in policy.applicable({"topic": "funds"})] == ["F1", "F3", "F2"]


def test_missing_names_the_must_rules_that_apply_and_are_absent(policy):
    assert policy.missing("It pays 3%.", {"topic": "funds"}) == ["F2"]
    assert policy.missing("It can fall in value.", {"topic": "funds"}) == []
    assert policy.missing("It pays 3%.", {"topic": "savings"}) == []


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("Please call 911 now.", "emergency"),
        ("Rest at home, and if it gets worse call an ambulance.", "emergency"),
        ("There is no need to call an ambulance; see your doctor.", "doctor"),
        ("Do not call an ambulance, rest at home.", "home"),
        ("Do not hesitate to call an ambulance.", "emergency"),
        ("Don't wait: call 911.", "emergency"),
        ("Do not drive and call 911.", "emergency"),
        ("Appelez le 15 tout de suite.", "emergency"),
        ("N'appelez pas le 15, consultez un médecin.", "doctor"),
        ("Llame al 112.", "emergency"),
        ("No llame al 112.", None),
        ("Drink tea.", None),
    ],
)
def test_recommendation_is_the_most_urgent_one_that_is_not_denied(policy, answer, wanted):
    assert policy.recommendation(answer) == wanted


def test_refusals_are_recognised_in_any_apostrophe_and_case(policy):
    assert policy.is_refusal("Sorry, I can’t help with that.")
    assert policy.is_refusal("JE NE PEUX PAS VOUS AIDER")
    assert not policy.is_refusal("I can help with that.")


def test_examples_that_hold_give_no_problem(policy):
    assert policy.check_examples() == []


def test_an_example_that_its_rule_misjudges_is_named(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "rules:\n- id: A\n  title: t\n  never: [free]\n"
        "  examples: {violates: [It costs 3.], complies: [It is free.]}\n"
    )
    problems = load_policy(path).check_examples()
    assert [problem.where.endswith("rule A") for problem in problems] == [True, True]
    assert "It costs 3." in problems[0].message and "It is free." in problems[1].message


def test_all_faults_of_a_policy_are_told_at_once_with_line_and_rule(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "rules:\n"
        "- id: A\n  title: t\n  nevr: [x]\n"
        "- id: B\n  title: t\n  severity: fatal\n  never: [x]\n"
        "- id: C\n  title: t\n  never: [x]\n  must: [y]\n"
        "- id: D\n  never: [x]\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_policy(path)
    told = str(caught.value)
    assert "p.yaml:4 rule A" in told and "did you mean `never`?" in told
    assert "p.yaml:7 rule B" in told and "severity" in told
    assert "exactly one of `never` and `must`" in told
    assert "rule D" in told and "`title` is missing" in told


@pytest.mark.parametrize("pattern", ["'(open'", "'a*'"])
def test_a_pattern_that_cannot_work_is_named_with_its_line(tmp_path, pattern):
    path = tmp_path / "p.yaml"
    path.write_text(f"rules:\n- id: A\n  title: t\n  never:\n  - fine\n  - {pattern}\n")
    with pytest.raises(ConfigError, match=r"p\.yaml:6 rule A") as caught:
        load_policy(path)
    assert len(caught.value.problems) == 1


def test_a_repeated_id_is_refused(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("rules:\n- {id: A, title: t, never: [x]}\n- {id: A, title: t, never: [y]}\n")
    with pytest.raises(ConfigError, match="given twice"):
        load_policy(path)


def test_a_missing_policy_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_policy(tmp_path / "none.yaml")
