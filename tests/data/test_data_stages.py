"""Several stages in one project: which rows serve which, and that none learns what another tests."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kit.config.errors import DataError
from kit.data.prepared import PreparedRow, load_split, load_summary
from kit.terminal import data_table


def asked(number: int) -> str:
    return f"What does card number {number} cost in all?"


def dialogue(number: int, **fields: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": asked(number)}, {"role": "assistant", "content": f"Card {number}."}]
    return {"messages": turns, **fields}


def pair(number: int, **fields: Any) -> dict[str, Any]:
    return {"prompt": asked(number), "chosen": f"Card {number}.", "rejected": f"No idea {number}.", **fields}


def labelled(number: int, **fields: Any) -> dict[str, Any]:
    return {"prompt": asked(number), "completion": f"Card {number}.", "label": number % 2, **fields}


def split(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last two of the rows to valid and test, the others to train."""
    names = ["train"] * (len(rows) - 2) + ["valid", "test"]
    return [row | {"split": name} for row, name in zip(rows, names, strict=True)]


def served(folder: Path) -> dict[str, set[tuple[str, ...]]]:
    """Source -> the stages of its rows."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for name in ("train", "valid", "test"):
        for row in load_split(folder, name):
            found.setdefault(row.source, set()).add(tuple(row.stages))
    return found


SPLIT = {"split": {"column": "split"}}


def test_every_kind_of_row_serves_the_stages_that_learn_from_it(project) -> None:
    sources = [
        project.write("text.jsonl", split([{"text": f"Rule {n} of the bank."} for n in range(4)])),
        project.write("rows.jsonl", split([dialogue(n) for n in range(10, 14)])),
        project.write("pairs.jsonl", split([pair(n) for n in range(20, 24)])),
        project.write("labels.jsonl", split([labelled(n) for n in range(30, 34)])),
    ]
    folder = project.prepare(*sources, stages=["pretrain", "sft", "dpo", "kto"], **SPLIT)
    assert served(folder) == {
        "text.jsonl": {("pretrain",)},
        "rows.jsonl": {("pretrain", "sft")},
        "pairs.jsonl": {("dpo",)},
        "labels.jsonl": {("kto",)},
    }
    counts = load_summary(folder)["stages"]
    assert counts["sft"] == counts["dpo"] == {"train": 2, "valid": 1, "test": 1}
    assert counts["pretrain"]["train"] == 4
    screen = Console(width=100, record=True, file=io.StringIO())
    screen.print(data_table(load_summary(folder), "in rejected.jsonl"))
    assert re.search(r"for dpo\s+4\s+train 2, valid 1, test 1", screen.export_text())


def test_a_source_that_names_its_stages_is_taken_at_its_word(project) -> None:
    pairs = project.write("pairs.jsonl", split([pair(n) for n in range(20, 24)]))
    labels = project.write("labels.jsonl", split([labelled(n) for n in range(30, 34)]))
    rows = project.write("rows.jsonl", split([dialogue(n, label="fees") for n in range(10, 14)]))
    stages = ["pretrain", "sft", "dpo", "kto"]
    folder = project.prepare(
        pairs | {"stages": ["sft", "dpo"]},
        labels | {"stages": ["sft", "kto"]},
        rows | {"stages": ["pretrain", "sft"]},  # its label is none of kto's
        stages=stages,
        **SPLIT,
    )
    assert served(folder) == {
        "pairs.jsonl": {("sft", "dpo")},
        "labels.jsonl": {("kto",), ("sft", "kto")},
        "rows.jsonl": {("pretrain", "sft")},
    }
    good: dict[bool | None, list[PreparedRow]] = {}
    for row in load_split(folder, "train"):
        good.setdefault(row.label, []).append(row)
    assert all("sft" not in row.stages for row in good[False])
    assert all("sft" in row.stages for row in good[True])
    with pytest.raises(DataError, match="holds pairs"):
        project.prepare(pairs | {"stages": ["sft"]}, stages=stages, **SPLIT)


def rejected(project, *sources: dict[str, Any], stages: list[str]) -> list[tuple[str, str]]:
    look = project.look(*sources, stages=stages, **SPLIT)
    return [(each.where, each.check) for each in look.rejected]


def test_no_stage_learns_what_another_tests(project) -> None:
    rows = project.write("rows.jsonl", split([dialogue(n) for n in (10, 11, 23, 12, 13)]))
    pairs = project.write("pairs.jsonl", split([pair(n) for n in (20, 13, 21, 22, 23)]))
    assert rejected(project, rows, pairs, stages=["sft", "dpo"]) == [
        ("rows.jsonl:3", "overlap"),  # a test prompt of the pairs
        ("pairs.jsonl:2", "overlap"),  # a test prompt of the dialogues
    ]


def test_an_earlier_turn_counts_where_a_stage_learns_whole_dialogues(project) -> None:
    """dpo learns the last answer alone; sft, from the same pair, every answer."""
    long = pair(30, split="train")
    long["prompt"] = [*dialogue(13)["messages"], {"role": "user", "content": "And the next one?"}]
    rows = project.write("rows.jsonl", split([dialogue(n) for n in (10, 11, 12, 13)]))
    pairs = project.write("pairs.jsonl", [*split([pair(n) for n in (20, 21, 22, 23)]), long])
    assert rejected(project, rows, pairs, stages=["sft", "dpo"]) == []
    both = pairs | {"stages": ["sft", "dpo"]}
    assert rejected(project, rows, both, stages=["sft", "dpo"]) == [("pairs.jsonl:5", "overlap")]


def test_a_reader_of_the_project_says_row_by_row_what_it_read(project) -> None:
    def read(record: dict[str, Any]) -> dict[str, Any]:
        beside = {"rejected": record["worse"]} if "worse" in record else {}
        return {"messages": record["turns"], "split": record["split"], **beside}

    project.hooks.readers["ticket"] = read
    rows = split([{"turns": dialogue(n)["messages"]} for n in range(10, 14)])
    pairs = split([{"turns": dialogue(n)["messages"], "worse": "No."} for n in range(20, 24)])
    source = project.write("tickets.jsonl", rows + pairs) | {"format": "ticket"}
    folder = project.prepare(source, stages=["sft", "dpo"], **SPLIT)
    assert {len(row.rejected or {}) > 0: tuple(row.stages) for row in load_split(folder, "train")} == {
        False: ("sft",),
        True: ("dpo",),
    }
    found = project.look(source, stages=["dpo", "kto"], **SPLIT)
    assert [each.check for each in found.rejected] == ["format"] * 4
    assert "neither a pair nor a labelled answer" in found.rejected[0].reason
