"""How a token is chosen from a model's scores: the likeliest, or one drawn with the prompt's own numbers."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from kit.config.schema import Sampling
from kit.drawing import Choose, uniforms

Decoding = Literal["greedy", "sampled"]


def chooser(
    decoding: Decoding, ids: Sequence[str], most_tokens: int, seed: int, sampling: Sampling
) -> Choose:
    """What chooses the tokens of answers to the prompts `ids`, of `most_tokens` at most."""
    if decoding == "greedy":
        return _likeliest
    return partial(_drawn, {id_: uniforms(seed, id_, most_tokens) for id_ in ids}, sampling)


def _likeliest(scores: torch.Tensor, ids: Sequence[str], steps: Sequence[int]) -> torch.Tensor:
    return scores.argmax(dim=-1)


def _drawn(
    numbers: Mapping[str, "np.ndarray[Any, Any]"],
    sampling: Sampling,
    scores: torch.Tensor,
    ids: Sequence[str],
    steps: Sequence[int],
) -> torch.Tensor:
    points = [numbers[id_][step] for id_, step in zip(ids, steps, strict=True)]
    return draw(scores, torch.tensor(points, dtype=torch.float64, device=scores.device), sampling)


def draw(scores: torch.Tensor, points: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """A token a row from the top-p nucleus: the one at a point of it.

    Args:
        scores: logits, [rows, vocabulary].
        points: uniform random numbers, [rows].
    """
    probabilities = torch.softmax(scores.double() / sampling.temperature, dim=-1)
    ranked, order = probabilities.sort(dim=-1, descending=True, stable=True)
    reached = ranked.cumsum(dim=-1)
    # The smallest set of tokens that holds top_p: those before which less than top_p was reached.
    reached = torch.where(reached - ranked < sampling.top_p, reached, torch.inf)
    nucleus = torch.where(reached.isinf(), 0.0, reached).amax(dim=-1, keepdim=True)
    return order.gather(-1, torch.searchsorted(reached, points[:, None] * nucleus, right=True))[:, 0]
