"""Random numbers of a prompt's own, so that its answer does not depend on what is asked beside it.

transformers' own sampling takes its random numbers from one generator a process: an answer would depend on
the batch, and the process, that it was made in. Evaluation and training both draw with these.

It loads torch and transformers.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor

Choose = Callable[[torch.Tensor, Sequence[str], Sequence[int]], torch.Tensor]
"""(scores [rows, vocabulary], ids of the rows' prompts, how many tokens each has) -> tokens [rows]."""
NOBODY = ""
"""The id of a row that no prompt has: any token will do. To leave such rows out would copy all scores."""


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
