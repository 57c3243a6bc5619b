"""What belongs together: groups, prompts under other system messages, answers that differ."""

from typing import Any

import pytest
from dialogue_rows import dialogue

from kit.config.errors import DataError
from kit.data.prepared import load_split


def counted(summary: dict[str, Any]) -> dict[str, int]:
    aside = ("length",)
    return {c["name"]: c["count"] for c in summary["checks"] if c["count"] and c["name"] not in aside}


def told(system: str, question: str, answer: str, **fields: Any) -> dict[str, Any]:
    row = dialogue(question, answer, **fields)
    return {**row, "messages": [{"role": "system", "content": system}, *row["messages"]]}


def talk(*texts: str, **fields: Any) -> dict[str, Any]:
    roles = ("user", "assistant") * len(texts)
    return {"messages": [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)], **fields}


def splits(project, *sources: dict[str, Any], **settings: Any) -> dict[str, tuple[str, str]]:
    """Last question -> its split and group."""
    folder = project.prepare(*sources, **settings)
    return {
        row.prompt[-1]["content"]: (split, row.group)
        for split in ("train", "valid", "test")
        for row in load_split(folder, split)
    }


def test_rows_without_a_group_are_grouped_by_what_they_ask_and_counted(project) -> None:
    """As one group they would all land in one split."""
    nobody = [{"patient": None}, {"patient": ""}, {"patient": " \t"}, {}]
    rows = [dialogue(f"Question {i}?", "Yes.", **nobody[i % 4]) for i in range(80)]
    rows += [dialogue(f"Known {i}?", "Yes.", patient="p1") for i in range(3)]
    source = project.write("a.jsonl", rows)
    found = splits(project, source, split={"group_by": "patient", "valid": 0.2, "test": 0.2})
    assert {split for split, _ in found.values()} == {"train", "valid", "test"}
    assert len({group for _, group in found.values()}) == 81
    summary = project.check(source, split={"group_by": "patient"})
    assert counted(summary) == {"no_group": 80}
    check = next(c for c in summary["checks"] if c["name"] == "no_group")
    assert check["severity"] == "report"
    assert check["examples"][0] == {"where": "a.jsonl:1", "text": "no patient: Question 0?"}


def test_one_group_written_in_several_ways_stays_together(project) -> None:
    """A column of numbers with gaps comes out of pandas as decimals, in CSV and in JSON."""
    rows = [dialogue(f"A{i}?", "Yes.", patient=way) for i, way in enumerate(["A ", "a", "Ａ"])]
    rows += [dialogue(f"N{i}?", "Yes.", patient=way) for i, way in enumerate([7, 7.0, "7", "7.0"])]
    rows += [dialogue(f"Other {i}?", "Yes.", patient=i + 100) for i in range(60)]
    rows += [dialogue("Zeros count?", "Yes.", patient="007"), dialogue("As do digits?", "Yes.", patient=7.5)]
    found = splits(
        project,
        project.write("a.jsonl", rows),
        split={"group_by": "patient", "valid": 0.2, "test": 0.2},
    )
    assert {found[f"A{i}?"][1] for i in range(3)} == {"a"}
    assert {found[f"N{i}?"][1] for i in range(4)} == {"7"}
    assert (found["Zeros count?"][1], found["As do digits?"][1]) == ("007", "7.5")


def test_a_group_that_straddles_named_splits_in_two_ways_of_writing_leaks(project) -> None:
    rows = [
        dialogue("One?", "1.", split="train", patient="P1 "),
        dialogue("Two?", "2.", split="test", patient="p1"),
    ]
    summary = project.check(
        project.write("a.jsonl", rows), split={"column": "split", "group_by": "patient", "valid": 0}
    )
    assert counted(summary) == {"group_leak": 1}


def test_an_empty_split_names_the_group_column_and_its_largest_group(project) -> None:
    rows = [dialogue(f"Question {i}?", "Yes.", topic="fees" if i < 9 else "cards") for i in range(12)]
    with pytest.raises(DataError) as caught:
        project.prepare(project.write("a.jsonl", rows), split={"group_by": "topic"})
    empty, group = caught.value.problems
    assert "nothing usable is left in" in empty.message
    assert group.where == "data.split.group_by"
    assert "is 'topic'" in group.message
    assert "there are 2, the largest, 'fees', with 9 of 12 rows" in group.message


def test_editing_the_system_prompt_leaves_every_row_in_its_split(project, dialogues) -> None:
    source = project.write("a.jsonl", dialogues)
    first = splits(project, source, system_prompt="You are a bank.")
    assert {split for split, _ in first.values()} == {"train", "valid", "test"}
    assert splits(project, source, system_prompt="You are a careful bank.") == first
    assert splits(project, source) == first


def test_a_test_question_is_found_in_train_under_another_system_message(project) -> None:
    rows = [
        told("Be brief.", "Is it safe?", "No.", split="test"),
        told("Be kind.", "Is it safe?", "No, sorry.", split="train"),
        talk("Is it safe?", "No.", "Why?", "Fees.", split="train"),
        told("Be kind.", "What else?", "Nothing.", split="train"),
    ]
    summary = project.check(project.write("a.jsonl", rows), split={"column": "split"})
    assert counted(summary) == {"overlap": 2}
    assert [summary["rows"][split] for split in ("train", "test")] == [1, 1]


def test_another_answer_in_an_earlier_turn_or_under_another_system_message_is_told(project) -> None:
    """Loss is on these answers too, but a greeting has many replies: the rows stay."""
    rows = [
        talk("Is it safe?", "No."),
        talk("Is it safe?", "Yes.", "Sure?", "Quite."),
        told("Be kind.", "Is it safe?", "No, sorry."),
        told("Be brief.", "Is it safe?", "no."),
        talk("Is it safe?", "No.", "Why?", "Fees."),
    ]
    summary = project.check({**project.write("a.jsonl", rows), "split": "train"})
    assert counted(summary) == {"variant": 2}
    check = next(c for c in summary["checks"] if c["name"] == "variant")
    assert check["severity"] == "report"
    assert [(e["where"], e["text"]) for e in check["examples"]] == [
        ("a.jsonl:2", "answer 1 is another than a.jsonl:1 gives to the same turns: Sure?"),
        ("a.jsonl:3", "answer 1 is another than a.jsonl:1 gives to the same turns: Is it safe?"),
    ]
    assert summary["rows"]["kept"] == 5


def test_a_conflict_is_not_told_twice(project) -> None:
    source = project.write("a.jsonl", [talk("Is it safe?", "No."), talk("Is it safe?", "Yes.")])
    assert counted(project.check(source, checks={"conflicts": "report"})) == {"conflict": 1}
