"""Samples that preparing keeps are those that training would make, and are used only while they are."""

from pathlib import Path
from typing import Any

import datasets
import pytest
from chat_tokenizers import chat_tokenizer
from dialogue_rows import dialogue
from test_data_render import REWRITES_HISTORY

from kit.config.schema import Config
from kit.data import samples
from kit.data.length import dialogue_samples
from kit.data.prepared import load_split, load_table
from kit.data.rows import IGNORED
from kit.train import examples
from kit.train.examples import load_rows, load_samples, tokenise

SPLIT = {"split": {"column": "split"}}


def split(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last two of the rows to valid and test, the others to train."""
    names = ["train"] * (len(rows) - 2) + ["valid", "test"]
    return [row | {"split": name} for row, name in zip(rows, names, strict=True)]


def dialogues(exchanges: int = 1, words: int = 3) -> list[dict[str, Any]]:
    found = []
    for number in range(6):
        turns = [
            turn
            for part in range(exchanges)
            for turn in dialogue(
                f"What does card {number}{part} cost?" + " Please" * words, f"Card {number} costs {part}."
            )["messages"]
        ]
        found.append({"messages": turns})
    return split(found)


def rendered_anew(folder: Path, name: str, project: Any, config: Config) -> list[dict[str, Any]]:
    return tokenise(load_rows(folder, name, config.train.stage), project.tokenizer, config)


@pytest.mark.parametrize("stage", ["sft", "pretrain"])
@pytest.mark.parametrize("template", [None, REWRITES_HISTORY])
@pytest.mark.parametrize("exchanges", [1, 3])
def test_training_reads_what_it_would_have_rendered(
    project, monkeypatch, stage: Any, template: str | None, exchanges: int
) -> None:
    project.tokenizer = chat_tokenizer(template) if template else project.tokenizer
    text = [{"text": f"Rule {number} of the bank: it costs."} for number in range(6)]
    rows = dialogues(exchanges) if stage == "sft" else split(text)
    source = project.write("a.jsonl", rows)
    config = project.config(source, stage=stage, **SPLIT)
    folder = project.prepare(source, stage=stage, **SPLIT)
    for name in ("train", "valid"):
        wanted = rendered_anew(folder, name, project, config)
        assert any(IGNORED in one["labels"] for one in wanted) == (stage == "sft")
        with monkeypatch.context() as patch:
            patch.setattr(examples, "dialogue_samples", lambda *_: pytest.fail("rendered again"))
            known = load_samples(folder, name, project.tokenizer, config)
            found = tokenise(load_rows(folder, name, stage), project.tokenizer, config, known)
        assert found == wanted


def test_rows_of_which_nothing_is_kept_are_rendered(project) -> None:
    """A dialogue that is cut into samples, beside one that is not; their order stays."""
    long = split([*dialogues(exchanges=8, words=20)[:2], *dialogues()[2:]])
    source, limits = project.write("a.jsonl", long), {"max_length": 200, "over_length": "split"}
    config = project.config(source, **limits, **SPLIT)
    folder = project.prepare(source, **limits, **SPLIT)
    known = load_samples(folder, "train", project.tokenizer, config)
    assert [one is None for one in known] == [True, True, False, False]
    rows = load_rows(folder, "train", "sft")
    assert len(dialogue_samples(rows[0]["messages"], project.tokenizer, config)) > 1
    wanted = rendered_anew(folder, "train", project, config)
    assert tokenise(rows, project.tokenizer, config, known) == wanted


def test_pairs_and_labelled_answers_are_learned_otherwise_and_not_kept(project) -> None:
    turns = [{"prompt": f"What does card {n} cost?", "chosen": f"{n}.", "rejected": "No."} for n in range(6)]
    source = project.write("pairs.jsonl", split(turns))
    folder = project.prepare(source, stage="dpo", **SPLIT)
    assert datasets.load_from_disk(str(folder / "train"))["samples"] == [None] * 4
    config = project.config(source, stage="dpo", **SPLIT)
    assert load_samples(folder, "train", project.tokenizer, config) == []


def test_a_stage_of_several_reads_those_of_its_rows(project) -> None:
    asked = split(dialogues())
    texts = split([{"text": f"Rule {number} of the bank."} for number in range(6)])
    sources = [project.write("text.jsonl", texts), project.write("rows.jsonl", asked)]
    folder = project.prepare(*sources, stages=["pretrain", "sft"], **SPLIT)
    config = project.config(*sources, stage="sft", **SPLIT)
    known = load_samples(folder, "train", project.tokenizer, config)
    wanted = rendered_anew(folder, "train", project, config)
    assert [{"input_ids": one.input_ids, "labels": one.labels} for (one,) in known if one] == wanted


@pytest.mark.parametrize("changed", ["max_length", "template", "library"])
def test_what_was_made_otherwise_is_not_used(project, monkeypatch, changed: str) -> None:
    source = project.write("a.jsonl", dialogues())
    folder = project.prepare(source, **SPLIT)
    config, tokenizer = project.config(source, **SPLIT), project.tokenizer
    assert None not in load_samples(folder, "train", tokenizer, config)
    if changed == "max_length":
        config = project.config(source, max_length=511, **SPLIT)
    elif changed == "template":
        tokenizer = chat_tokenizer(REWRITES_HISTORY)
    else:
        monkeypatch.setattr(samples, "version", lambda name: "0.0")
    assert load_samples(folder, "train", tokenizer, config) == [None] * 4


def test_only_training_reads_them(project) -> None:
    folder = project.prepare(project.write("a.jsonl", dialogues()), **SPLIT)
    assert datasets.load_from_disk(str(folder / "test"))["samples"] == [None], "nothing is trained on test"
    assert "samples" not in load_table(folder, "train").column_names
    assert len(load_split(folder, "train")) == 4
