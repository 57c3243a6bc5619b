"""`predictions.jsonl`: answers as they come, so that an interrupted evaluation loses one batch at most."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kit.config.errors import InvalidRunError, Problem

Line = dict[str, Any]
Key = tuple[str, str, str]
"""Id, system, decoding."""


def read_predictions(path: Path) -> dict[Key, Line]:
    """All complete lines of the file; a half-written last line is cut off from it.

    Raises:
        InvalidRunError: a line other than the last is damaged.
    """
    if not path.is_file():
        return {}
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
    predictions: dict[Key, Line] = {}
    for number, text in enumerate(
        content[:whole].decode("utf-8", errors="replace").split("\n")[:-1], start=1
    ):
        try:
            line = json.loads(text)
            predictions[line["id"], line["system"], line["decoding"]] = line
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidRunError(
                Problem(
                    f"{path}:{number}", "not a prediction", "delete this evaluation's folder and run it again"
                )
            ) from error
    return predictions


def append_predictions(path: Path, lines: Iterable[Line]) -> None:
    """Add lines and wait until they are on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[Line]:
    """The lines of a JSONL file that was written whole; none where there is no file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
