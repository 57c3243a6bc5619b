"""Kappa and the correction for a judge's errors: hand-worked cases, statsmodels, and simulated coverage."""

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from kit.evaluate.agreement import (
    LabelCounts,
    Observed,
    accuracy,
    cohen_kappa,
    corrected,
    count_labels,
    kappa_interval,
    rogan_gladen,
    why_it_tells_nothing,
)


def cells(matrix):
    return [(i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) for _ in range(n)]


def seen(faults, n, invalid=0):
    """A system with so many faults among n answers, the last of which are invalid."""
    return Observed([place < n - invalid for place in range(n)], [place < faults for place in range(n)])


def each(n):
    return [str(place) for place in range(n)]


def test_kappa_of_a_hand_worked_table():
    # 35 of 50 agree; by chance .5 * .6 + .5 * .4 = .5 would: (.7 - .5) / (1 - .5)
    assert cohen_kappa(np.array([[20.0, 5.0], [10.0, 15.0]])) == pytest.approx(0.4)


@pytest.mark.parametrize(("weights", "wt"), [("none", None), ("quadratic", "quadratic")])
def test_kappa_and_its_interval_agree_with_statsmodels(weights, wt):
    matrix = [[40, 6, 2], [5, 30, 9], [1, 8, 49]]
    ours = kappa_interval(cells(matrix), each(150), 3, weights, draws=4_000)
    theirs = cohens_kappa(np.array(matrix), wt=wt)
    assert ours["estimate"] == pytest.approx(theirs.kappa)
    assert (ours["low"], ours["high"]) == pytest.approx((theirs.kappa_low, theirs.kappa_upp), abs=0.02)


def test_kappa_does_not_exist_where_only_one_label_is_used():
    found = kappa_interval([(0, 0)] * 20, each(20), 2, draws=100)
    assert found["estimate"] is None and found["method"] == "both use one label only"


def test_answers_to_one_prompt_are_one_witness():
    """Twice the same answers tell no more than once."""
    matrix = [[20, 5], [10, 15]]
    once = kappa_interval(cells(matrix), each(50), 2, draws=4_000)
    twice = kappa_interval(cells(matrix) * 2, each(50) * 2, 2, draws=4_000)
    alone = kappa_interval(cells(matrix) * 2, each(100), 2, draws=4_000)
    width = {name: found["high"] - found["low"] for name, found in (("1", once), ("2", twice), ("3", alone))}
    assert width["2"] == pytest.approx(width["1"], rel=0.05)
    assert width["3"] == pytest.approx(width["1"] / 2**0.5, rel=0.1)


@pytest.mark.parametrize(
    ("observed", "sensitivity", "specificity", "truth"),
    [(0.3, 0.9, 0.8, 1 / 7), (0.5, 1.0, 1.0, 0.5), (0.05, 0.9, 0.8, 0.0), (0.95, 0.9, 0.8, 1.0)],
)
def test_rogan_gladen_by_hand_and_held_within_0_and_1(observed, sensitivity, specificity, truth):
    assert rogan_gladen(observed, sensitivity, specificity) == pytest.approx(truth)


def test_a_judge_that_tosses_a_coin_tells_nothing():
    assert rogan_gladen(0.5, 0.6, 0.4) is None and rogan_gladen(0.5, 0.3, 0.4) is None
    why = why_it_tells_nothing(LabelCounts(50, 26, 50, 27), 2_000, 0.95, 0)
    assert why.startswith("the judge tells nothing: it sees 26 of 50 faults and finds one in 23 of 50 sound")
    assert why_it_tells_nothing(LabelCounts(50, 40, 50, 41), 2_000, 0.95, 0) == ""
    assert "no fault in any" in why_it_tells_nothing(LabelCounts(0, 0, 100, 90), 2_000, 0.95, 0)
    assert "in every labelled" in why_it_tells_nothing(LabelCounts(100, 90, 0, 0), 2_000, 0.95, 0)


def test_an_error_that_moves_with_the_system_is_taken_out():
    """A judge that passes no sound answer of tuned half the time shows no change where there is one."""
    observed = {"base": seen(90, 200), "tuned": seen(90, 200)}
    labelled = {"base": LabelCounts(100, 90, 100, 100), "tuned": LabelCounts(100, 90, 100, 60)}
    found = corrected(observed, labelled, each(200), draws=4_000)
    assert found["base"]["estimate"] == pytest.approx(0.45 / 0.9)
    assert found["tuned"]["estimate"] == pytest.approx(0.05 / 0.5)
    assert found["difference"]["estimate"] == pytest.approx(-0.4)
    assert found["difference"]["high"] < 0 and found["difference"]["p_value"] < 0.05
    assert found["reduction"]["estimate"] == pytest.approx(0.8)
    mirrored = corrected(
        {"base": observed["tuned"], "tuned": observed["base"]},
        {"base": labelled["tuned"], "tuned": labelled["base"]},
        each(200),
        draws=4_000,
    )["difference"]
    assert mirrored["estimate"] == pytest.approx(0.4)
    assert (-mirrored["high"], -mirrored["low"]) == pytest.approx(
        (found["difference"]["low"], found["difference"]["high"]), abs=0.03
    )


def test_invalid_answers_stay_faults():
    labelled = {system: LabelCounts(100, 100, 100, 100) for system in ("base", "tuned")}
    found = corrected(
        {"base": seen(20, 100), "tuned": seen(0, 100, invalid=30)}, labelled, each(100), draws=500
    )
    assert found["base"]["estimate"] == pytest.approx(0.2)
    assert found["tuned"]["estimate"] == pytest.approx(0.3)


def test_ten_labels_are_not_taken_for_certainty():
    """A judge that was right ten times of ten may still be wrong one time in five."""
    labelled = {system: LabelCounts(10, 10, 10, 10) for system in ("base", "tuned")}
    found = corrected({"base": seen(100, 200), "tuned": seen(100, 200)}, labelled, each(200), draws=4_000)
    many = {system: LabelCounts(1000, 1000, 1000, 1000) for system in ("base", "tuned")}
    sure = corrected({"base": seen(100, 200), "tuned": seen(100, 200)}, many, each(200), draws=4_000)
    widths = [part["tuned"]["high"] - part["tuned"]["low"] for part in (found, sure)]
    assert widths[0] > 1.15 * widths[1]


def labels(copies, apart=False):
    """40 faults, of which 32 are seen, and 40 sound answers, of which 30 pass; so many answers a group."""
    fault = [True] * 40 + [False] * 40
    seen = [place < 32 for place in range(40)] + [place >= 30 for place in range(40)]
    names = [f"{place} {copy if apart else ''}" for copy in range(copies) for place in range(80)]
    return count_labels(fault * copies, seen * copies, names)


def test_labels_of_one_group_are_one_witness():
    """Five times the same labelled answers tell no more than once: of sensitivity, and of the effect."""
    once, five, apart = labels(1), labels(5), labels(5, apart=True)
    assert (five.faults, five.found, five.sound, five.passed) == (200, 160, 200, 150)
    assert once.by_group == apart.by_group == () and len(five.by_group) == 80
    observed = {"base": seen(200, 400), "tuned": seen(120, 400)}
    width = {}
    for name, counts in (("once", once), ("five", five), ("apart", apart)):
        found = accuracy(counts, draws=2_000)
        labelled = {"base": counts, "tuned": counts}
        gap = corrected(observed, labelled, each(400), draws=4_000)["difference"]
        parts = (found["sensitivity"], found["specificity"], gap)
        width[name] = [part["high"] - part["low"] for part in parts]
    assert width["five"] == pytest.approx(width["once"], rel=0.1)
    assert all(np.array(width["apart"]) < 0.8 * np.array(width["five"]))
    assert found["sensitivity"]["method"] == "Wilson"
    assert accuracy(five)["sensitivity"]["method"] == "Wilson, widened by bootstrap over groups"


def test_groups_in_which_a_judge_is_always_right_are_as_many_witnesses_as_there_are():
    right = count_labels([True, False] * 50, [True, False] * 50, [str(place // 10) for place in range(100)])
    few, many = (dict.fromkeys(("base", "tuned"), counts) for counts in (right, LabelCounts(50, 50, 50, 50)))
    observed = {"base": seen(100, 200), "tuned": seen(100, 200)}
    found = [corrected(observed, each_, each(200), draws=4_000)["tuned"] for each_ in (few, many)]
    widths = [interval["high"] - interval["low"] for interval in found]
    assert widths[0] > 1.15 * widths[1]


def test_a_judge_that_few_groups_speak_for_tells_nothing():
    """65 of 100 faults and as many sound answers are above chance; of four customers each they may be it."""
    fault = [True] * 100 + [False] * 100
    seen_ = [place % 100 < 65 for place in range(100)] + [place % 100 >= 65 for place in range(100)]
    alone = count_labels(fault, seen_, each(200))
    grouped = count_labels(fault, seen_, [str(place // 25) for place in range(200)])
    assert why_it_tells_nothing(alone, 2_000, 0.95, 0) == ""
    assert why_it_tells_nothing(grouped, 2_000, 0.95, 0).startswith("the judge tells nothing")


def test_the_corrected_interval_covers():
    """Truth .30 and .12; the judge sees .85 and passes .90: the interval holds the truth 19 times of 20."""
    dice, hits, raw = np.random.default_rng(3), 0, []
    runs, n = 200, 200
    for run in range(runs):
        observed, labelled = {}, {}
        for system, truth in (("base", 0.30), ("tuned", 0.12)):
            fault = dice.random(n) < truth
            found = np.where(fault, dice.random(n) < 0.85, dice.random(n) < 0.10)
            observed[system] = Observed([True] * n, list(found))
            labelled[system] = LabelCounts(60, int(dice.binomial(60, 0.85)), 90, int(dice.binomial(90, 0.9)))
        interval = corrected(observed, labelled, each(n), draws=600, seed=run)["difference"]
        hits += interval["low"] <= -0.18 <= interval["high"]
        raw.append(np.mean(observed["tuned"].fault) - np.mean(observed["base"].fault))
    assert 0.92 <= hits / runs <= 0.99
    assert np.mean(raw) == pytest.approx(-0.135, abs=0.01), "what the judge says is three quarters of it"
