"""A token is drawn from the likeliest ones alone, and is the one that a sorted vocabulary would give."""

import pytest
import torch

from kit.config.schema import Sampling
from kit.evaluate.sampling import draw


def drawn_from_all(scores, points, sampling):
    """The definition: tokens by likelihood, of equal ones the first, until top_p is reached."""
    tokens = []
    for row, point in zip(torch.softmax(scores.double() / sampling.temperature, dim=-1), points, strict=True):
        order = sorted(range(len(row)), key=lambda token, row=row: -row[token].item())
        reached, nucleus = 0.0, []
        for token in order:
            if reached >= sampling.top_p:
                break
            reached += row[token].item()
            nucleus.append((token, reached))
        tokens.append(next(token for token, upto in nucleus if upto > point.item() * reached))
    return tokens


@pytest.mark.parametrize("top_p", [0.001, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("spread", [0.0, 0.3, 6.0])
def test_the_drawn_token_is_that_of_the_whole_vocabulary(top_p, spread):
    torch.manual_seed(3)
    # Half precision leaves many tokens equally likely, and 0.0 all of them.
    scores = (torch.randn(12, 90) * spread).to(torch.bfloat16).float()
    points = torch.rand(12, dtype=torch.float64)
    sampling = Sampling(temperature=0.7, top_p=top_p)
    assert draw(scores, points, sampling).tolist() == drawn_from_all(scores, points, sampling)


def test_a_model_that_says_nothing_but_nan_draws_some_token():
    tokens = draw(torch.full((2, 90), torch.nan), torch.tensor([0.1, 0.9]).double(), Sampling(top_p=0.9))
    assert all(0 <= token < 90 for token in tokens.tolist())
