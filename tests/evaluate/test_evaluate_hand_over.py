"""Questions that are a person's: which they are, and whether an answer sends the customer on."""

from pathlib import Path

import pytest
from metric_samples import ROOM

from kit.config.errors import ConfigError, DataError
from kit.config.schema import MetricUse
from kit.data.grammar_load import load_grammar
from kit.data.synth import synthesize
from kit.evaluate.metrics import load_metric, score
from kit.evaluate.policy import load_policy
from kit.evaluate.policy_examples import problems_of
from kit.hooks import Hooks

POLICY = r"""
hand_over:
  when: {topic: [tax, complaints]}
  phrases: ['\b(adviser|colleague)\b']
  examples:
    hands_over: [A tax adviser can tell you.]
    keeps: [You do not need an adviser.]
"""


def hand_overs(path, cases):
    metric = load_metric(MetricUse(name="hand_over_rate", params={"policy": str(path)}), Hooks(), Path("/"))
    return score(metric, [answer for answer, _ in cases], [reference for _, reference in cases])


def written(tmp_path, text):
    path = tmp_path / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_hand_overs_by_hand(tmp_path):
    tax, card = {"topic": "tax"}, {"topic": "cards"}
    cases = [
        ("A tax adviser can tell you.", tax),
        ("There is no tax on it.", tax),
        ("No colleague can help you with that.", tax),
        ("Your card is blocked.", card),
        ("I pass this on to a colleague.", {**card, "hand_over": True}),
        ("Your card is blocked.", {**card, "hand_over": "true"}),  # as CSV has it
        ("There is no tax on it.", {**tax, "hand_over": False}),
    ]
    found = hand_overs(written(tmp_path, POLICY), cases)
    assert found.items == [1, 0, 0, None, 1, 0, None]
    assert found.details[1] == ["sends nobody on"] and found.details[0] == []


def test_a_row_that_says_neither_true_nor_false_is_not_left_out_unseen(tmp_path):
    path = written(tmp_path, POLICY)
    assert hand_overs(path, [("Ask a colleague.", {"topic": "tax", "hand_over": ""})]).items == [1]
    with pytest.raises(DataError, match=r"(?s)`hand_over`: .* found 'perhaps'.*true or false"):
        hand_overs(path, [("Ask a colleague.", {"hand_over": "perhaps"})])
    assert hand_overs(path, [("Ask a colleague.", {"hand_over": "Yes"})]).items == [1]


def test_without_phrases_or_fields_only_the_rows_say_what_is_a_persons(tmp_path):
    path = written(tmp_path, "refusals: ['no']")
    assert hand_overs(path, [("Ask us.", {"topic": "tax"}), ("Ask us.", {"hand_over": True})]).items == [
        None,
        0,
    ]


@pytest.mark.parametrize("case", ["finance", "ecommerce"])
def test_the_recipes_good_answers_hand_over_and_a_general_model_does_so_less(case):
    recipe = ROOM.parents[2] / "recipes" / case
    shares = {}
    for answers in ("good", "general"):
        rows = list(synthesize(load_grammar(recipe / "dialogues.yaml"), 500, 20, answers))
        found = hand_overs(recipe / "policy.yaml", [(row["messages"][-1]["content"], row) for row in rows])
        shares[answers] = found.mean
        assert 5 < sum(item is not None for item in found.items) < 250
    assert shares["good"] == 1.0 and shares["general"] < 0.8


def test_the_phrases_are_held_to_their_examples(tmp_path):
    assert problems_of(load_policy(written(tmp_path, POLICY))) == []
    turned = POLICY.replace("A tax adviser can tell you.", "Nobody can tell.").replace(
        "You do not need an adviser.", "Ask a colleague."
    )
    told = [str(problem) for problem in problems_of(load_policy(written(tmp_path, turned)))]
    assert "policy.yaml:6 hand_over" in told[0] and "should be one of `hands_over`" in told[0]
    assert "policy.yaml:7 hand_over" in told[1] and "should be one of `keeps`" in told[1]
    bare = written(tmp_path, POLICY.replace("[You do not need an adviser.]", "[]"))
    (lacking,) = problems_of(load_policy(bare))
    assert "no example of `keeps`" in str(lacking)


def test_faults_of_the_phrases_are_told_with_their_line(tmp_path):
    with pytest.raises(ConfigError, match=r"policy\.yaml:4 hand_over: '\(': not a regular expression"):
        load_policy(written(tmp_path, POLICY.replace(r"'\b(adviser|colleague)\b'", "'('")))
    with pytest.raises(ConfigError, match=r"(?s)unknown key `phrase`.*phrases"):
        load_policy(written(tmp_path, POLICY.replace("phrases:", "phrase:")))
    with pytest.raises(ConfigError, match=r"(?s)unknown key `keep`.*keeps"):
        load_policy(written(tmp_path, POLICY.replace("keeps:", "keep:")))
