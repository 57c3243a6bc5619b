"""`casekit data diff` as a person types it: what changed between two prepared sets."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_tokenizers import CHATML, chat_tokenizer
from dialogue_rows import dialogue

from kit.data.diff import _numbered, diff
from kit.data.prepare import prepare
from kit.data.prepared import load_split


def rows_of(count: int = 60) -> list[dict[str, Any]]:
    return [dialogue(f"Question {i}?", f"Yes, {i}.", topic=f"t{i % 2}", part="train") for i in range(count)]


def write(rows: list[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        row.update(part="test" if number < 5 else "valid" if number < 10 else row["part"])
    Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


WORDS = ("data.split.group_by=null", "data.split.column=part")


@pytest.fixture
def changed(casekit) -> dict[str, Any]:
    """Two sets of sixty rows, of which eight differ, each in its own way."""
    rows = rows_of()
    write(rows)
    assert casekit("data", "prepare", *WORDS)[0] == 0
    rows[20] = dialogue("Question 20?", "No.", topic="t0", part="train")  # another answer
    rows[21]["topic"] = "t9"  # another slice
    rows[22] = dialogue("Another question 22?", "Yes.", topic="t0", part="train")  # another prompt, same line
    rows[23]["messages"].insert(0, {"role": "system", "content": "Be kind."})
    rows[24]["part"] = "test"
    rows[25] = dialogue("Question 25?", "", topic="t1", part="train")  # rejected now
    rows += [rows[30], dialogue("Question 60?", "Yes, 60.", topic="t0", part="train")]
    write(rows)
    assert casekit("data", "prepare", *WORDS, "data.checks.refusal=off")[0] == 0
    code, out, _ = casekit("data", "diff", "--json")
    assert code == 0
    return json.loads(out)


def test_every_row_is_told_once_and_with_its_place(changed: dict[str, Any]) -> None:
    told = changed["changes"]
    kinds = {name: (part["count"], part["examples"]) for name, part in told["changed"].items()}
    assert kinds == {
        "answer": (1, ["a.jsonl:21"]),
        "columns": (1, ["a.jsonl:22"]),
        "system": (1, ["a.jsonl:24"]),
        "place": (1, ["a.jsonl:23"]),
    }
    assert (told["moved"]["ways"], told["moved"]["examples"]) == ({"train to test": 1}, ["a.jsonl:25"])
    assert (told["out"]["count"], told["out"]["examples"]) == (1, ["a.jsonl:26"])
    assert (told["in"]["count"], told["in"]["examples"]) == (1, ["a.jsonl:62"])
    assert told["same"] == 60 - 4 - 1
    assert changed["rows"]["kept"] == [60, 60]
    assert changed["rows"]["test"] == [5, 6]
    assert changed["checks"]["duplicate"] == [0, 1]
    assert changed["settings"] == {"data.checks.refusal": ["report", "off"]}
    assert list(changed["sources"]) == ["a.jsonl"]
    assert changed["notes"] == []


def test_the_table_says_the_same_and_names_what_is_comparable(casekit, changed: dict[str, Any]) -> None:
    code, out, err = casekit("data", "diff")
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "made by the same casekit for the same tokenizer: all is comparable" in lines
    assert "changed 1 the same prompt, another answer (a.jsonl:21)" in lines
    assert "moved 1 train to test 1 (a.jsonl:25)" in lines
    assert "out 1 (a.jsonl:26)" in lines
    assert "duplicate 0 1 +1" in lines
    assert "data.checks.refusal report off" in lines


def test_a_set_beside_itself_differs_in_nothing(casekit, changed: dict[str, Any]) -> None:
    name = changed["sets"][1]["fingerprint"]
    code, out, _ = casekit("data", "diff", name[:6], f"data/prepared/{name}", "--json")
    told = json.loads(out)
    assert (code, told["changes"]["same"], told["changes"]["in"]["count"]) == (0, 60, 0)
    assert told["sources"] == told["settings"] == {}
    assert all(old == new for old, new in told["rows"].values())


def test_rows_that_a_check_took_or_gave_back_are_told_by_check(casekit) -> None:
    rows = rows_of()
    rows[30] = dialogue("question 29?", "yes, 29.", topic="t0", part="train")
    write(rows)
    for setting in ("report", "reject"):
        assert casekit("data", "prepare", *WORDS, f"data.checks.duplicates={setting}")[0] == 0
    first, second = sorted(Path("data/prepared").iterdir(), key=os.path.getmtime)
    assert diff(first, second)["changes"]["out"]["rejected"] == {"duplicate": 1}
    assert diff(second, first)["changes"]["in"]["rejected"] == {"duplicate": 1}


def test_another_tokenizer_and_version_are_named_first(project, dialogues) -> None:
    source = project.write("a.jsonl", dialogues)
    config = project.config(source)
    first = project.prepare(source)
    other = chat_tokenizer(CHATML + "{# changed #}")
    second = prepare(config, project.root, project.hooks, other)
    (note,) = diff(first, second)["notes"]
    assert note == "another tokenizer or chat template: lengths in tokens are not comparable"
    summary = json.loads((second / "data.json").read_text())
    (second / "data.json").write_text(json.dumps(summary | {"kit_version": "9.9"}))
    assert any("and 9.9: checks may count" in note for note in diff(first, second)["notes"])
    del summary["tokenizer"]
    (second / "data.json").write_text(json.dumps(summary))
    assert "does not say which tokenizer" in diff(first, second)["notes"][0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "holds 1 prepared set, and two are compared"),
        (["nothing"], "names no prepared data"),
        (["a", "b", "c"], "3 are named"),
    ],
)
def test_sets_that_are_not_there_are_bad_input(casekit, words: list[str], said: str) -> None:
    write(rows_of())
    assert casekit("data", "prepare", *WORDS)[0] == 0
    code, out, err = casekit("data", "diff", *words)
    assert (code, out) == (2, "")
    assert said in err


def test_one_name_is_compared_with_the_latest(casekit, changed: dict[str, Any]) -> None:
    first, second = (one["fingerprint"] for one in changed["sets"])
    for name, wanted in ((first, [first, second]), (second, [second, first])):
        told = json.loads(casekit("data", "diff", name, "--json")[1])
        assert [one["fingerprint"] for one in told["sets"]] == wanted


def test_neither_torch_nor_a_tokenizer_is_needed(changed: dict[str, Any]) -> None:
    program = (
        "import sys; sys.argv = ['casekit', 'data', 'diff']\n"
        "from kit import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_equal_rows_are_paired_as_often_as_they_stand_in_both() -> None:
    keys = np.array([7, 3, 7, 7], np.uint64)
    one, other = _numbered(keys), _numbered(np.array([7, 7], np.uint64))
    assert len(set(one.tolist())) == 4
    assert len(set(one.tolist()) & set(other.tolist())) == 2
    assert len(_numbered(np.array([], np.uint64))) == 0


def test_the_order_of_rows_is_no_difference(project, dialogues) -> None:
    first = project.prepare(project.write("a.jsonl", dialogues))
    second = project.prepare(project.write("a.jsonl", dialogues[::-1]))
    told = diff(first, second)["changes"]
    assert (told["same"], told["moved"]["count"]) == (60, 0)
    assert load_split(first, "train") != load_split(second, "train")


def test_rejected_rows_that_are_no_dialogue_are_no_row_of_the_other_set(casekit) -> None:
    rows = rows_of()
    write(rows)
    assert casekit("data", "prepare", *WORDS)[0] == 0
    rows[20]["messages"][0]["role"] = ""
    write(rows)
    assert casekit("data", "prepare", *WORDS)[0] == 0
    code, out, _ = casekit("data", "diff", "--json")
    assert code == 0
    assert json.loads(out)["changes"]["out"]["count"] == 1
