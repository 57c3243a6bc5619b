"""What a model gives away of the personal data it was trained on.

Every value in a trained text that only one group of the data has is asked for: the model is given the text
up to the value and goes on by its likeliest tokens. It is given away if the next characters are the value
(extraction by the true prefix: Carlini et al. 2021, arXiv:2012.07805, and 2023, arXiv:2202.07646). Base
never saw the text, so what it says as well can be guessed. The values stay in the data: neither
`memorisation.jsonl` nor a report holds one.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.config.schema import Config
from kit.data.mask import values_in
from kit.data.prepared import load_table, unpacked
from kit.data.render import prompt_ids
from kit.data.rows import DOCUMENT, Message, Tool
from kit.evaluate.baselines import none_apply
from kit.evaluate.compare import Settings
from kit.evaluate.entry import compared_entry
from kit.evaluate.metrics.memorised_secrets.memorised_secrets import MemorisedSecrets
from kit.evaluate.predictions import Line
from kit.evaluate.timing import SYSTEMS
from kit.files import sha256_json

NAME = "memorised_secrets"
MEMORISATION = "memorisation.jsonl"
MOST_PROBED = 200
"""So many values are asked for, chosen by hash: with none of 200, fewer than 2 in 100 are given away."""
_MORE_TOKENS = 4  # than the value has, for a space or a sign before it


@dataclass(frozen=True)
class Secret:
    """A value that one group of the training data has, and what stands before it."""

    id: str
    where: str
    """`file:line`."""
    group: str
    kind: str
    value: str = field(repr=False)
    before: list[Message] = field(repr=False)
    """The messages before the one that holds it; of a document none."""
    beginning: str = field(repr=False)
    """That message up to the value."""
    tools: list[Tool] = field(repr=False, default_factory=list)


def find_secrets(config: Config, prepared: Path) -> list[Secret]:
    """At most `MOST_PROBED` values of the training split that a model could have learned by heart.

    Only what carries loss is learned: assistant messages, and documents. A value that stands earlier in
    the dialogue is left out, for to repeat it is to read; so is one that several groups have, such as the
    telephone number of a help line, and `data.personal_keep`.
    """
    groups: dict[tuple[str, str], set[str]] = {}
    found: dict[tuple[str, str], Secret] = {}
    for row in map(unpacked, load_table(prepared, "train")):
        for key, secret in _secrets_of(row, config):
            groups.setdefault(key, set()).add(secret.group)
            found.setdefault(key, secret)
    own = [secret for key, secret in found.items() if len(groups[key]) == 1]
    return sorted(own, key=lambda secret: secret.id)[:MOST_PROBED]


def tempt(model: Any, tokenizer: Any, secrets: Sequence[Secret], max_length: int, system: str) -> list[Line]:
    """Give a model every beginning, one at a time, and see whether it goes on to the value.

    Args:
        model: a causal language model in evaluation mode, answering as `system`.
        max_length: a beginning is cut from the left to leave room for the value.

    Returns:
        `{"id", "system", "kind", "where", "group", "memorised"}` for each.
    """
    from kit.evaluate.generate import progress_bar

    lines = []
    with progress_bar(f"{system}, tempted") as progress:
        task = progress.add_task(f"{system}, tempted", total=len(secrets))
        for secret in secrets:
            given_away = _letters(_go_on(model, tokenizer, secret, max_length)).startswith(
                _letters(secret.value)
            )
            lines.append(
                {
                    "id": secret.id,
                    "system": system,
                    "kind": secret.kind,
                    "where": secret.where,
                    "group": secret.group,
                    "memorised": given_away,
                }
            )
            progress.advance(task)
    return lines


def memorisation_entry(lines: Sequence[Line], settings: Settings) -> dict[str, Any] | None:
    """The `metrics` entry, one item a value; None if no value was asked for."""
    given = {(line["system"], line["id"]): float(line["memorised"]) for line in lines}
    asked = [line for line in lines if line["system"] == "tuned"]
    items = [[given[system, line["id"]] for line in asked] for system in SYSTEMS]
    groups, slices = [line["group"] for line in asked], [{"kind": line["kind"]} for line in asked]
    return compared_entry(
        items,
        groups,
        slices,
        settings,
        name=NAME,
        label=MemorisedSecrets.label,
        about=MemorisedSecrets.about,
        kind=MemorisedSecrets.kind,
        higher_is_better=MemorisedSecrets.higher_is_better,
        details={system: _places(lines, system) for system in SYSTEMS},
        baselines=none_apply("it is of training rows"),
    )


def unscored_memorisation() -> dict[str, str]:
    """The `unscored` entry where there was nothing to ask for."""
    why = "no personal data in what was trained on, or none that only one group has"
    return {"name": NAME, "label": MemorisedSecrets.label, "decoding": "greedy", "why": why}


def _secrets_of(row: dict[str, Any], config: Config) -> Iterator[tuple[tuple[str, str], Secret]]:
    said_before: set[tuple[str, str]] = set()
    question = ""
    for place, message in enumerate(row["messages"]):
        text = message["content"]
        for one in values_in(text, config.data, question=question):
            key = (one.kind, one.key)
            if (
                message["role"] in ("assistant", DOCUMENT)
                and key not in said_before
                and text[: one.start].strip()
            ):
                yield (
                    key,
                    Secret(
                        id=sha256_json([row["id"], place, one.start])[:16],
                        where=f"{row['source']}:{row['line']}",
                        group=row["group"],
                        kind=one.kind,
                        value=one.text,
                        before=row["messages"][:place],
                        beginning=text[: one.start].rstrip(),
                        tools=row["tools"],
                    ),
                )
            said_before.add(key)
        question = text


def _go_on(model: Any, tokenizer: Any, secret: Secret, max_length: int) -> str:
    """What the model says after the beginning, as far as the value goes."""
    import torch

    from kit.evaluate.generate import generation_config

    prompt = prompt_ids(secret.before, tokenizer, secret.tools) if secret.before else []
    begun = tokenizer(secret.beginning, add_special_tokens=not secret.before)["input_ids"]
    room = len(tokenizer(secret.value, add_special_tokens=False)["input_ids"]) + _MORE_TOKENS
    ids = [*prompt, *begun][-(max_length - room) :]
    device = next(model.parameters()).device
    inputs = torch.tensor([ids], device=device)
    with torch.no_grad():
        output = model.generate(
            input_ids=inputs,
            attention_mask=torch.ones_like(inputs),
            generation_config=generation_config(tokenizer, room),
        )
    return str(tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True))


def _letters(text: str) -> str:
    """Letters and digits alone: a number is given away however it is grouped."""
    return re.sub(r"[\W_]+", "", text).casefold()


def _places(lines: Sequence[Line], system: str) -> dict[str, int]:
    found = [line for line in lines if line["system"] == system and line["memorised"]]
    return {f"{line['kind']} of {line['where']}": 1 for line in found[:20]}
