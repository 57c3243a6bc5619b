"""Personal data that only its neighbourhood gives away: nothing that is written may tell it."""

import json
from pathlib import Path
from typing import Any

import pytest
from dialogue_rows import dialogue
from tool_rows import ANSWER, ASK, PRICED, call, calls

NUMBER = "5551234567"
ADDRESS = "jo.smith@mail.example"
WITH_CALLS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def asked(*more: dict[str, Any], answer: str = "It is on the way.") -> dict[str, Any]:
    """A dialogue with a telephone number that nothing but the question before it tells."""
    turns = ["I have lost my card", "What is your phone number?", NUMBER, answer]
    messages = [
        {"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(turns)
    ]
    return {"messages": [*messages, *more]}


def telling(folder: Path, *values: str) -> list[str]:
    """The files that hold one of the values."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(value.encode() in path.read_bytes() for value in values)]


@pytest.mark.parametrize("action", ["mask", "reject"])
def test_a_rejected_row_does_not_tell_what_its_questions_give_away(project, dialogues, action: str) -> None:
    rows = [
        asked(),
        asked(answer=""),
        asked({"role": "user", "content": f"So it is {NUMBER}?"}),
        {"messages": [ASK, calls(call("ring", phone_number=NUMBER)), PRICED]},
        {"messages": [ASK, calls(call("write", to={ADDRESS: "home"})), PRICED]},
        dialogue("Which one is it?", "", card=4111111111111111, phone=int(NUMBER)),
    ]
    folder = project.prepare(project.write("a.jsonl", [*dialogues, *rows]), personal=action)
    assert json.loads((folder / "data.json").read_text())["rows"]["rejected"] >= 5
    assert telling(folder, NUMBER, ADDRESS, "4111111111111111") == []


def test_excerpts_and_the_page_do_not_tell_it_where_rows_stay_as_they_are(project, dialogues) -> None:
    rows = [
        asked(answer=""),
        *(asked(answer=f"Thank you, it is on the way. {'It is. ' * i}") for i in (1, 9)),
    ]
    folder = project.prepare(project.write("a.jsonl", [*dialogues, *rows]), split={"valid": 0.1, "test": 0.1})
    told = telling(folder, NUMBER)
    assert "rejected.jsonl" in told, "with `report` it is as it was read"
    assert "data.json" not in told
    assert "data.html" not in told
    assert " 67" in (folder / "data.json").read_text(), "shortened"


def test_the_name_of_a_column_says_what_its_value_is(project, dialogues) -> None:
    for row in dialogues:
        row["phone"] = None
    dialogues[3]["phone"], dialogues[4]["phone"] = NUMBER, int(NUMBER)
    settings = {"personal": "mask", "expected": ["phone"], "split": {"group_by": "phone"}}
    source = project.write("a.jsonl", dialogues)
    assert telling(project.prepare(source, **settings), NUMBER) == []
    assert telling(project.prepare(source, **{**settings, "split": {}}), NUMBER) == []


def test_the_keys_of_a_calls_arguments_are_masked(project, dialogues) -> None:
    project.tokenizer.chat_template = WITH_CALLS
    row = {"messages": [ASK, calls(call("write", to={ADDRESS: "home"})), PRICED, ANSWER]}
    folder = project.prepare(project.write("a.jsonl", [*dialogues, row]), personal="mask")
    assert telling(folder, ADDRESS) == []
    assert json.loads((folder / "data.json").read_text())["rows"]["rejected"] == 0


def test_a_hotline_in_the_projects_own_system_prompt_hides_no_row_from_the_page(project, dialogues) -> None:
    prompt = "You are the assistant of a bank. Others may write to help@bank.example."
    folder = project.prepare(project.write("a.jsonl", dialogues), system_prompt=prompt, personal="mask")
    assert rows_shown(folder) > 0


def test_tools_that_tell_an_address_keep_a_row_from_the_page(project, dialogues) -> None:
    project.tokenizer.chat_template = "{{ tools | tojson if tools }}" + WITH_CALLS
    told = {"type": "function", "function": {"name": "write", "description": f"Writes to {ADDRESS}."}}
    folder = project.prepare(project.write("a.jsonl", [{**row, "tools": [told]} for row in dialogues]))
    assert json.loads((folder / "data.json").read_text())["rows"]["train"] > 0
    assert rows_shown(folder) == 0


def rows_shown(folder: Path) -> int:
    return (folder / "data.html").read_text().count("with loss")
