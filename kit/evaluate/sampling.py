"""How a token is chosen from a model's scores: the likeliest, or one drawn with the prompt's own numbers."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from kit.config.schema import Sampling
from kit.drawing import NOBODY, Choose, uniforms

Decoding = Literal["greedy", "sampled"]


def chooser(
    decoding: Decoding, ids: Sequence[str], most_tokens: int, seed: int, sampling: Sampling
) -> Choose:
    """What chooses the tokens of answers to the prompts `ids`, of `most_tokens` at most."""
    if decoding == "greedy":
        return _likeliest
    return partial(_drawn, {id_: uniforms(seed, id_, most_tokens) for id_ in ids}, sampling)


def drawn_id(id_: str, sample: int) -> str:
    """Whose random numbers an answer is drawn with: the first has the prompt's own, each further one others.

    So the first answers are the same however many are drawn, and each depends on its prompt and number alone.
    """
    return f"{id_}#{sample}" if sample else id_


def _likeliest(scores: torch.Tensor, ids: Sequence[str], steps: Sequence[int]) -> torch.Tensor:
    return scores.argmax(dim=-1)


def _drawn(
    numbers: Mapping[str, "np.ndarray[Any, Any]"],
    sampling: Sampling,
    scores: torch.Tensor,
    ids: Sequence[str],
    steps: Sequence[int],
) -> torch.Tensor:
    points = [0.0 if id_ == NOBODY else numbers[id_][step] for id_, step in zip(ids, steps, strict=True)]
    return draw(scores, torch.tensor(points, dtype=torch.float64, device=scores.device), sampling)


def draw(scores: torch.Tensor, points: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """A token a row from the top-p nucleus: the one at a point of it.

    Args:
        scores: logits, [rows, vocabulary].
        points: uniform random numbers, [rows].
    """
    probabilities = torch.softmax(scores.double() / sampling.temperature, dim=-1)
    ranked, order = _ranked(probabilities, sampling.top_p)
    reached = ranked.cumsum(dim=-1)
    # The smallest set of tokens that holds top_p: those before which less than top_p was reached.
    reached = torch.where(reached - ranked < sampling.top_p, reached, torch.inf)
    nucleus = torch.where(reached.isinf(), 0.0, reached).amax(dim=-1, keepdim=True)
    return order.gather(-1, torch.searchsorted(reached, points[:, None] * nucleus, right=True))[:, 0]


def _ranked(probabilities: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The likeliest tokens in order, of equally likely ones the first, and which they are.

    All of a nucleus are among them. To sort the whole vocabulary would take longer than the model does.
    """
    # Tokens less likely than this are together less likely than what the nucleus leaves out, and are last.
    least = (1 - top_p) / probabilities.shape[-1] / 2
    count = max(1, int((probabilities >= least).sum(dim=-1).max()))  # none is where a model says NaN
    among = probabilities.topk(count, dim=-1, sorted=False).indices.sort(dim=-1).values
    ranked, order = probabilities.gather(-1, among).sort(dim=-1, descending=True, stable=True)
    return ranked, among.gather(-1, order)
