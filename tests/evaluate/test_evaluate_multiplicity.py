"""Holm and Benjamini–Hochberg against statsmodels, and what they promise, simulated."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from kit.evaluate.multiplicity import benjamini_hochberg, holm

FAMILIES = [[], [0.03], [0.01, 0.04, 0.03, 0.005], [0.2, 0.2, 0.2], [1.0, 0.0, 0.5, 0.5, 1e-12]]


@pytest.mark.parametrize("p_values", FAMILIES, ids=str)
@pytest.mark.parametrize(("ours", "theirs"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
def test_adjusted_p_values_agree_with_statsmodels(ours, theirs, p_values):
    wanted = multipletests(p_values, method=theirs)[1] if p_values else []
    assert ours(p_values) == pytest.approx(list(wanted))


def test_holm_golden_values():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_among_twenty_tests_of_nothing_holm_finds_something_in_one_family_of_twenty():
    families = np.random.default_rng(30).uniform(size=(2000, 20))
    assert np.mean([min(family) < 0.05 for family in families]) > 0.6, "without correction"
    assert np.mean([min(holm(list(family))) < 0.05 for family in families]) <= 0.06


def test_of_what_benjamini_hochberg_finds_one_in_twenty_is_false():
    generator, shares = np.random.default_rng(31), []
    for _ in range(1000):
        real, nothing = generator.uniform(size=10) ** 8 / 10, generator.uniform(size=30)
        q_values = benjamini_hochberg([*real, *nothing])
        found = [place for place, q in enumerate(q_values) if q < 0.05]
        shares.append(sum(place >= 10 for place in found) / max(len(found), 1))
    assert 0.02 <= np.mean(shares) <= 0.05
