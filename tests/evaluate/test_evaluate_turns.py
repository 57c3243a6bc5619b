"""Conversations over their turns: the first faulty one, and how many stay without a fault."""

import numpy as np
import pytest
from statsmodels.duration.survfunc import SurvfuncRight

from kit.evaluate.prompts import Prompt
from kit.evaluate.turns import Followed, by_turn, follow, survival

HOW = {"higher_is_better": False, "confidence": 0.95}


def test_turns_by_hand():
    # a: clean, then faulty with base; b: clean for three turns; c: faulty at once with base, at 2 with tuned.
    rows = [
        ("a", 1, 0, 0), ("a", 2, 1, 0),
        ("b", 1, 0, 0), ("b", 2, 0, 0), ("b", 3, 0, 0),
        ("c", 1, 1, 0), ("c", 2, 1, 1), ("c", 3, 1, 0),
        ("d", 1, 0, 0),
    ]  # fmt: skip
    groups, turns, base, tuned = (list(column) for column in zip(*rows, strict=True))
    found = by_turn(base, tuned, groups, turns, **HOW)
    assert found is not None and [row["turn"] for row in found] == [1, 2, 3]
    counts = [(row["base"]["at_risk"], row["base"]["first"]) for row in found]
    assert counts == [(4, 1), (2, 1), (1, 0)]  # d ended after its first turn: no fault
    assert [row["base"]["estimate"] for row in found] == pytest.approx([3 / 4, 3 / 8, 3 / 8])
    counts = [(row["tuned"]["at_risk"], row["tuned"]["first"]) for row in found]
    assert counts == [(4, 0), (3, 1), (1, 0)]
    assert [row["tuned"]["estimate"] for row in found] == pytest.approx([1, 2 / 3, 2 / 3])
    assert found[0]["tuned"]["high"] == 1 and 0.3 < found[0]["tuned"]["low"] < 1
    turned = by_turn(
        [1 - b for b in base], [1 - t for t in tuned], groups, turns, **HOW | {"higher_is_better": True}
    )
    assert turned == found, "of a rate where higher is better 0 is the fault"


def test_conversations_that_are_asked_once_have_no_turns():
    assert by_turn([0, 1], [0, 0], ["a", "b"], [1, 2], **HOW) is None
    assert by_turn([0, None], [0, 0], ["a", "a"], [1, 2], **HOW) is None
    assert by_turn([0, 1], [0, 0], ["a", "a"], [1, 1], **HOW) is None, "twice the same turn"


def test_variants_of_one_turn_are_faulty_where_any_is():
    assert follow([("a", 1, False), ("a", 1, True), ("a", 2, False)]) == [Followed((1,), True)]


def test_a_turn_that_was_not_scored_is_not_taken_for_one_without_a_fault():
    faults = [("a", 1, False), ("a", 3, True), ("b", 1, False), ("b", 2, True), ("b", 3, True)]
    followed = follow(faults)
    assert followed == [Followed((1, 3), True), Followed((1, 2), True)]
    assert [row["at_risk"] for row in survival(followed, [1, 2, 3], 0.95)] == [2, 1, 1]


def test_questions_of_one_group_that_continue_nothing_are_no_turns():
    def asked(*texts):
        said = [{"role": role, "content": text} for text in texts for role in ("user", "assistant")][:-1]
        return Prompt("a", said, {}, {}, "a")

    long, apart, one = asked("Is it safe?", "Really?"), asked("What does it cost?"), asked("Is it safe?")
    assert long.conversation == one.conversation != apart.conversation


def test_the_curve_agrees_with_statsmodels_late_starters_included():
    generator = np.random.default_rng(3)
    first = generator.integers(1, 3, size=200)
    last = first + generator.integers(0, 5, size=200)
    faulty = generator.random(200) < 0.4
    followed = [
        Followed(tuple(range(a, b + 1)), bool(c)) for a, b, c in zip(first, last, faulty, strict=True)
    ]
    theirs = SurvfuncRight(last, faulty, entry=first - 1)
    ours = survival(followed, [int(turn) for turn in theirs.surv_times], 0.95)
    assert [row["at_risk"] for row in ours] == theirs.n_risk.tolist()
    assert [row["estimate"] for row in ours] == pytest.approx(theirs.surv_prob.tolist())
    for row, error in zip(ours, theirs.surv_prob_se, strict=True):
        share = row["estimate"]
        reach = 1.959964 * error / (share * -np.log(share))
        assert row["low"] == pytest.approx(share ** np.exp(reach), abs=1e-6)
        assert row["high"] == pytest.approx(share ** np.exp(-reach), abs=1e-6)


def test_the_interval_covers_the_share_that_stays_without_a_fault():
    generator, chance, covered = np.random.default_rng(5), 0.12, []
    for _ in range(600):
        faults = generator.random((60, 4)) < chance
        lengths = generator.integers(2, 5, size=60)
        followed = []
        for row, length in zip(faults, lengths, strict=True):
            hits = np.flatnonzero(row[:length])
            last = hits[0] + 1 if hits.size else length
            followed.append(Followed(tuple(range(1, last + 1)), bool(hits.size)))
        third = survival(followed, [1, 2, 3, 4], 0.95)[2]
        covered.append(third["low"] <= (1 - chance) ** 3 <= third["high"])
    assert 0.93 <= np.mean(covered) <= 0.98


def test_a_prompt_knows_which_turn_it_asks():
    said = [{"role": role, "content": "x"} for role in ("system", "user", "assistant", "user")]
    assert Prompt("a", said, {}, {}, "a").turn == 2
    assert Prompt("a", said[:2], {}, {}, "a").turn == 1 == Prompt("a", [], {}, {}, "a").turn
