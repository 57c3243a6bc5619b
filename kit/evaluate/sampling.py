"""How a token is chosen from a model's scores: the likeliest, or one drawn with the prompt's own numbers."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from transformers import LogitsProcessor

from kit.config.schema import Sampling

Decoding = Literal["greedy", "sampled"]
Choose = Callable[[torch.Tensor, Sequence[str], Sequence[int]], torch.Tensor]
"""(scores [rows, vocabulary], ids of the rows' prompts, how many tokens each has) -> tokens [rows]."""


def chooser(
    decoding: Decoding, ids: Sequence[str], most_tokens: int, seed: int, sampling: Sampling
) -> Choose:
    """What chooses the tokens of answers to the prompts `ids`, of `most_tokens` at most."""
    if decoding == "greedy":
        return _likeliest
    # transformers' own sampling takes its random numbers from one generator a process, so that an answer
    # would depend on the batch it was made in. Here each prompt has its own numbers, from seed and id.
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
    count = int((probabilities >= least).sum(dim=-1).max())
    among = probabilities.topk(count, dim=-1, sorted=False).indices.sort(dim=-1).values
    ranked, order = probabilities.gather(-1, among).sort(dim=-1, descending=True, stable=True)
    return ranked, among.gather(-1, order)


def uniforms(seed: int, id_: str, count: int) -> "np.ndarray[Any, Any]":
    """A prompt's own uniform random numbers; the first ones are the same for any count."""
    return np.random.default_rng(own_seed(seed, id_)).random(count)


def own_seed(seed: int, id_: str) -> int:
    """A prompt's own 64 bits, so that its answer does not depend on which others are asked."""
    digest = hashlib.sha256(f"{seed}:{id_}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


class Chooses(LogitsProcessor):  # type: ignore[misc]  # transformers is not type checked
    """Has `model.generate` take what `choose` chooses, by leaving only that token possible."""

    def __init__(self, choose: Choose, ids: Sequence[str], prompt_length: int) -> None:
        self.choose, self.ids, self.prompt_length = choose, ids, prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores [batch, vocabulary] with all but the chosen token at minus infinity."""
        steps = [input_ids.shape[1] - self.prompt_length] * len(self.ids)
        chosen = self.choose(scores, self.ids, steps)
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen[:, None], 0.0)
