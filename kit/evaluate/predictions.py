"""`predictions.jsonl`: answers as they come, so that an interrupted evaluation loses a few batches."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kit.config.errors import InvalidRunError, Problem

Line = dict[str, Any]
Key = tuple[str, str, str, int]
"""Id, system, decoding, and which of the answers to the prompt it is: 0 but for further sampled ones."""


def read_predictions(path: Path) -> dict[Key, Line]:
    """All complete lines of the file; a half-written last line is cut off from it.

    A line without `sample`, as they were before several answers could be drawn, is of the first.

    Raises:
        InvalidRunError: a line other than the last is damaged.
    """
    lines = read_appended(path, ("id", "system", "decoding"), "a prediction")
    return {key_of(line): line for line in lines}


def key_of(line: Line) -> Key:
    """Which answer a line holds."""
    return line["id"], line["system"], line["decoding"], line.get("sample", 0)


def read_appended(path: Path, keys: Sequence[str], called: str) -> list[Line]:
    """All complete lines of a file that `append_predictions` writes; a half-written last one is cut off.

    Args:
        keys: what every line has.
        called: what a line is, for the error.

    Raises:
        InvalidRunError: a line other than the last is damaged.
    """
    if not path.is_file():
        return []
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
    lines: list[Line] = []
    for number, text in enumerate(
        content[:whole].decode("utf-8", errors="replace").split("\n")[:-1], start=1
    ):
        try:
            line = json.loads(text)
            if not all(key in line for key in keys):
                raise ValueError(f"not all of {keys}")
            lines.append(line)
        except (ValueError, TypeError) as error:
            hint = "delete this evaluation's folder and run it again"
            raise InvalidRunError(Problem(f"{path}:{number}", f"not {called}", hint)) from error
    return lines


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
