"""A small project to prepare data in."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from chat_tokenizers import chat_tokenizer
from dialogue_rows import dialogue

from kit import cli
from kit.config.schema import Config
from kit.data.prepare import CheckResult, check, prepare
from kit.hooks import Hooks

Run = Callable[..., tuple[int, str, str]]


class DataProject:
    """A folder with raw files and settings, prepared with a small tokenizer."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hooks = Hooks()
        self.tokenizer = chat_tokenizer()

    def write(self, name: str, content: str | bytes | list[Any]) -> dict[str, str]:
        """Write a file (a list becomes JSON Lines); the source that names it."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return {"path": name}

    def config(
        self,
        *sources: dict[str, Any],
        max_length: int = 512,
        stage: str = "sft",
        stages: Sequence[str] = (),
        **data: Any,
    ) -> Config:
        return Config.model_validate(
            {
                "data": {"sources": list(sources), **data},
                "model": {"max_length": max_length},
                "train": {"stages": list(stages)} if stages else {"stage": stage},
            }
        )

    def check(self, *sources: dict[str, Any], **settings: Any) -> dict[str, Any]:
        return self.look(*sources, **settings).summary

    def look(self, *sources: dict[str, Any], **settings: Any) -> CheckResult:
        return check(self.config(*sources, **settings), self.root, self.hooks, self.tokenizer)

    def prepare(self, *sources: dict[str, Any], **settings: Any) -> Path:
        return prepare(self.config(*sources, **settings), self.root, self.hooks, self.tokenizer)


@pytest.fixture
def project(tmp_path: Path) -> DataProject:
    return DataProject(tmp_path)


@pytest.fixture
def dialogues() -> list[dict[str, Any]]:
    """Sixty distinct dialogues with a topic and a customer."""
    return [
        dialogue(
            f"What does card {i} cost?",
            f"Card {i} costs {i} euros.",
            topic=f"t{i % 3}",
            customer=f"c{i % 20}",
        )
        for i in range(60)
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    chat_tokenizer().save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "qwen3"}')
    (folder / "model.safetensors").touch()  # data needs the tokenizer only
    return folder


@pytest.fixture
def casekit(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """The command in a project whose one source is a.jsonl."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/project.yaml").write_text(
        f"model: {{name: {model}, max_length: 512}}\n"
        "data: {sources: [{path: a.jsonl}], slices: [topic], split: {column: null, group_by: topic}}\n"
    )
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["casekit", *words])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return run
