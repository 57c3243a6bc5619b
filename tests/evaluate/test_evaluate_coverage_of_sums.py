"""Simulated coverage of the intervals that are drawn anew from counts: macro-F1, and a judge's kappa."""

import numpy as np

from kit.evaluate.agreement import cohen_kappa, kappa_interval
from kit.evaluate.metrics.macro_f1.macro_f1 import MacroF1
from kit.evaluate.sums import compare_sums

LABELS = np.array([0.55, 0.34, 0.11])  # as yes, no and maybe in PubMedQA
MACRO_F1 = MacroF1().statistic


def confusion(right):
    """P(given | expected): right so often, and else either of the others."""
    return np.full((3, 3), (1 - right) / 2) + np.eye(3) * (right - (1 - right) / 2)


def counted(expected, given):
    """Right, given and expected of every label, a row an answer."""
    given_one, expected_one = np.eye(3)[given], np.eye(3)[expected]
    return np.stack([given_one * expected_one, given_one, expected_one], axis=2).reshape(len(expected), 9)


def drawn(generator, expected, right):
    uniform = generator.random((len(expected), 1))
    return (confusion(right)[expected].cumsum(axis=1) < uniform).sum(axis=1)


def true_macro_f1(right):
    joint = LABELS[:, None] * confusion(right)
    return float(MACRO_F1(np.stack([joint.diagonal(), joint.sum(axis=0), LABELS], axis=1).reshape(9)))


def test_the_interval_of_macro_f1_and_of_its_difference_cover():
    generator, covered = np.random.default_rng(8), []
    tuned_truth, gap = true_macro_f1(0.8), true_macro_f1(0.8) - true_macro_f1(0.65)
    for turn in range(200):
        expected = generator.choice(3, size=200, p=LABELS)
        base, tuned = (counted(expected, drawn(generator, expected, right)) for right in (0.65, 0.8))
        names = [str(place) for place in range(200)]
        _, one, difference, _ = compare_sums(base, tuned, names, MACRO_F1, draws=400, seed=turn)
        covered.append((one.low <= tuned_truth <= one.high, difference.low <= gap <= difference.high))
    share, of_difference = np.mean(covered, axis=0)
    assert 0.91 <= share <= 0.985
    assert 0.91 <= of_difference <= 0.985


def test_the_interval_of_kappa_covers():
    joint = np.array([[0.42, 0.08], [0.12, 0.38]])
    truth, generator, covered = float(cohen_kappa(joint)), np.random.default_rng(9), []
    for turn in range(200):
        places = generator.choice(4, size=120, p=joint.ravel())
        cells = [(int(place) // 2, int(place) % 2) for place in places]
        found = kappa_interval(cells, [str(n) for n in range(120)], 2, draws=400, seed=turn)
        covered.append(found["low"] <= truth <= found["high"])
    assert 0.91 <= np.mean(covered) <= 0.985
