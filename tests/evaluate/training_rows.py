"""Small prepared data with a training split, written by hand."""

import json
from pathlib import Path

import datasets

from kit.evaluate.prompts import Prompt


def turns(*texts: str) -> list[dict]:
    """User and assistant in turn."""
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def row(number: int, messages: list[dict], **expected) -> dict:
    return {
        "id": f"{number:016x}",
        "messages": messages,
        "expected": json.dumps(expected),
        "slices": "{}",
        "group": f"train {number}",
        "source": "train.jsonl",
        "line": number + 1,
    }


def prepared(root: Path, *dialogues: list[dict], expected: list[dict] | None = None) -> Path:
    """A prepared folder whose training split holds these dialogues, lines from 1."""
    beside = expected or [{} for _ in dialogues]
    rows = [row(i, messages, **beside[i]) for i, messages in enumerate(dialogues)]
    datasets.Dataset.from_list(rows).save_to_disk(str(root / "train"))
    return root


def prompt(text: str, number: int = 0, **expected) -> Prompt:
    return Prompt(
        id=f"{number:04x}",
        messages=turns(text),
        expected=expected,
        slices={},
        group=str(number),
        answer="It can fall in value.",
        source="test.jsonl",
        line=number + 1,
    )
