"""Files of answers for `casekit compare`, and the command as a person types it."""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from kit import cli

POLICY = Path(__file__).parents[2] / "recipes" / "finance" / "policy.yaml"


def write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def rows_of(answer: Callable[[int], str], count: int = 60, **more: Any) -> list[dict[str, Any]]:
    """Rows whose label is yes where the number is even, with `answer(number)` for an output."""
    return [
        {
            "id": f"q{number:03}",
            "prompt": f"Is {number} even?",
            "output": answer(number),
            "expected": {"label": "no" if number % 2 else "yes"},
            "slices": {"size": "small" if number < count // 2 else "large"},
            **more,
        }
        for number in range(count)
    ]


def right(number: int) -> str:
    return "no" if number % 2 else "yes"


def often_wrong(number: int) -> str:
    return "yes" if number % 3 else "no"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def casekit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """(words) -> exit code, stdout, stderr."""

    def run(*words: object, columns: int = 200) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["casekit", *map(str, words)])
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return run


def accuracy(report: dict) -> dict:
    return next(metric for metric in report["metrics"] if metric["name"] == "closed_accuracy")


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "old.jsonl", rows_of(often_wrong)), write(tmp_path / "new.jsonl", rows_of(right))
