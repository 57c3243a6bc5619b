"""`likelihood.jsonl`: how surprised each system is by the reference answers.

One line a prompt and system: `{"id", "system", "nats", "tokens", "why"}`. The tokens are those that training
puts loss on in the last turn (`kit.data.render`), read after exactly the prompt that generation sends.
"""

from collections.abc import Sequence
from typing import Any

import torch

from kit.config.errors import DataError
from kit.data.render import render
from kit.data.rows import IGNORED
from kit.evaluate.generate import progress_bar
from kit.evaluate.predictions import Line
from kit.evaluate.prompts import Prompt


def measure_likelihood(
    model: Any, tokenizer: Any, prompts: Sequence[Prompt], max_length: int, system: str
) -> list[Line]:
    """Read every reference answer once, one prompt at a time, so that no batch changes a figure.

    Args:
        model: a causal language model in evaluation mode, answering as `system`.
        max_length: most tokens a prompt and its answer may have.

    Returns:
        A line a prompt; one that cannot be read has no tokens and says why.
    """
    lines = []
    with progress_bar(f"{system}, reading") as progress:
        task = progress.add_task(f"{system}, reading", total=len(prompts))
        for prompt in prompts:
            lines.append({"id": prompt.id, "system": system, **_read(model, tokenizer, prompt, max_length)})
            progress.advance(task)
    return lines


def _read(model: Any, tokenizer: Any, prompt: Prompt, max_length: int) -> Line:
    if prompt.thinks:
        return {"nats": 0.0, "tokens": 0, "why": "the answer begins with reasoning"}
    dialogue = [*prompt.messages, {"role": "assistant", "content": prompt.answer}]
    try:
        sample = render(dialogue, tokenizer, max_length, prompt.tools)[-1]
    except DataError as error:
        return {"nats": 0.0, "tokens": 0, "why": error.problems[0].message}
    asked = len(prompt.ids(tokenizer))
    device = next(model.parameters()).device
    targets = torch.tensor(sample.labels[asked:], device=device)
    with torch.no_grad():
        # The place before each token says what was expected there.
        logits = model(
            input_ids=torch.tensor([sample.input_ids], device=device), logits_to_keep=len(targets) + 1
        ).logits[0, :-1]
    nats = torch.nn.functional.cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="sum")
    return {"nats": nats.item(), "tokens": int((targets != IGNORED).sum()), "why": ""}
