"""A round of answers in `grpo`: how it is drawn, and how it is kept in a checkpoint.

What is drawn depends on the seed, the step and the prompt's place in the global batch alone: neither on
passes, nor on how many processes share the prompts out, nor on what was drawn before.

Only `kit.train.grpo` imports this module: it loads torch and transformers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import pad

from kit.drawing import Choose, Chooses, uniforms
from kit.train.processes import is_main, of_all

GENERATIONS = "generations.pt"
"""In a checkpoint: how far a round of answers is used up, and the answers that are still to be used."""
Passes = list[dict[str, torch.Tensor]]
"""What a process learns from in turn: tensors of one entry an answer, or of none."""


@contextmanager
def drawing(
    model: Any,
    prompts: Sequence[Sequence[int]],
    places: Sequence[str],
    seed: int,
    most: int,
    temperature: float,
) -> Iterator[None]:
    """Within, `model.generate` draws the answers to these prompts with numbers of their own.

    Args:
        prompts: their tokens.
        places: by which the numbers are made, with the seed; those of one name draw alike.
        most: tokens of an answer.
    """
    choose = by_numbers({place: uniforms(seed, place, most) for place in places}, temperature)
    chooses = Chooses(choose, places, max(map(len, prompts)))
    model.generate = partial(model.generate, logits_processor=[chooses])
    try:
        yield
    finally:
        del model.generate


def by_numbers(numbers: dict[str, Any], temperature: float) -> Choose:
    """Takes of each row the token at the row's number, where the tokens share the way from 0 to 1."""

    def choose(scores: torch.Tensor, places: Sequence[str], steps: Sequence[int]) -> torch.Tensor:
        points = [numbers[place][step] for place, step in zip(places, steps, strict=True)]
        at = torch.tensor(points, dtype=torch.float64, device=scores.device)[:, None]
        reached = torch.softmax(scores.double() / temperature, dim=-1).cumsum(dim=-1)
        return torch.searchsorted(reached, at * reached[:, -1:], right=True)[:, 0]

    return choose


def save_round(folder: str, step: int, accumulation: int, left: Passes | None) -> None:
    """Keep what is left of a round; of several processes the main one writes what all have.

    Args:
        step: passes that were made since the run began.
        accumulation: passes of an optimiser step.
        left: None between two rounds.
    """
    on_cpu = left and [{name: value.cpu() for name, value in one.items()} for one in left]
    answers = of_all(on_cpu) if on_cpu else None
    if is_main():
        kept = {"step": step, "accumulation": accumulation, "answers": answers}
        torch.save(kept, Path(folder) / GENERATIONS)


def load_round(
    folder: str, accumulation: int, rank: int, processes: int, on: torch.device
) -> tuple[int, Passes | None]:
    """How many passes were made, and what is left of the round; dealt anew for other numbers of processes.

    Args:
        accumulation: passes of an optimiser step now.
        rank: of this process, of so many `processes`.
    """
    kept = torch.load(Path(folder) / GENERATIONS, map_location="cpu", weights_only=True)
    answers, step = kept["answers"], kept["step"] // kept["accumulation"] * accumulation
    if not answers:
        return step, None
    if len(answers) != processes:
        answers = dealt(answers, processes, accumulation)
    return step, [{name: value.to(on) for name, value in one.items()} for one in answers[rank]]


def dealt(answers: list[Passes], processes: int, passes: int) -> list[Passes]:
    """The answers that some processes have, for others: in as many passes each."""
    before = [one for of_process in answers for one in of_process]
    whole = {name: _joined(name, [one[name] for one in before]) for name in before[0]}
    size = len(whole["advantages"]) // (processes * passes)

    def part(number: int) -> dict[str, torch.Tensor]:
        rows = slice(number * size, (number + 1) * size)
        return {name: value[rows] if value.dim() else value for name, value in whole.items()}

    return [[part(rank * passes + number) for number in range(passes)] for rank in range(processes)]


def _joined(name: str, values: list[torch.Tensor]) -> torch.Tensor:
    """The rows of several tensors, made equally long: prompts on the left, answers on the right."""
    if not values[0].dim():
        return values[0]
    if values[0].dim() == 1:
        return torch.cat(values)
    longest = max(value.shape[1] for value in values)
    left = name.startswith("prompt")
    missing = [longest - value.shape[1] for value in values]
    sides = [(gap, 0) if left else (0, gap) for gap in missing]
    return torch.cat([pad(value, side) for value, side in zip(values, sides, strict=True)])
