"""`casekit data check` as a person types it: every problem with file, line and reason."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from dialogue_rows import dialogue

Run = Callable[..., tuple[int, str, str]]


def good(count: int) -> list[str]:
    return [json.dumps(dialogue(f"Question {i}?", f"Yes, {i}.", topic=f"t{i}")) for i in range(count)]


def write(*lines: str, name: str = "a.jsonl") -> None:
    Path(name).write_text("".join(f"{line}\n" for line in lines))


def test_check_lists_every_rejected_row_with_file_line_and_reason(casekit: Run) -> None:
    rows = good(60)
    rows[3] = '{"messages": '
    rows[7] = json.dumps(dialogue("Why?", "", topic="t7"))
    rows[9] = rows[8]
    rows[11] = json.dumps(dialogue("W" * 3000, "Long.", topic="t11"))
    write(*rows)
    code, out, err = casekit("data", "check")
    assert code == 2
    first, second, third, fourth, *table = out.splitlines()
    assert first.startswith("a.jsonl:4: not JSON: ")
    assert second == "a.jsonl:8: turn 2 (the assistant's) is empty"
    assert third == "a.jsonl:10: same as a.jsonl:9"
    assert re.fullmatch(r"a\.jsonl:12: .* over the limit of 512.*", fourth)
    assert "rejected" in out and "duplicate" in "\n".join(table)
    assert "rejected.jsonl" not in out + err
    assert not Path("data").exists()


def test_check_lists_fifty_and_says_how_many_more(casekit: Run) -> None:
    write(*good(60), *["broken"] * 62)
    code, out, _ = casekit("data", "check")
    listed = [line for line in out.splitlines() if line.startswith("a.jsonl:")]
    assert (code, len(listed)) == (2, 50)
    assert "… and 12 more; --all lists every one" in out
    _, out, _ = casekit("data", "check", "--all")
    assert sum(line.startswith("a.jsonl:") for line in out.splitlines()) == 62
    assert "more;" not in out


def test_check_warns_of_what_prepare_refuses(casekit: Run) -> None:
    write(*(json.dumps(dialogue(f"Question {i}?", "Yes.", topic="one")) for i in range(20)))
    code, out, err = casekit("data", "check")
    assert code == 2
    assert "20" in out
    assert "warning data nothing usable is left in valid and test" in err
    assert "the largest, 'one', with 20 of 20 rows" in err
    code, _, err = casekit("data", "prepare")
    assert code == 2
    assert "error data nothing usable is left in valid and test" in err


def test_check_takes_settings_for_this_call(casekit: Run) -> None:
    write(*(json.dumps(dialogue(f"Question {i}?", "Yes.", topic="one")) for i in range(60)))
    assert casekit("data", "check")[0] == 2
    code, _, err = casekit("data", "check", "data.split.group_by=null")
    assert (code, err) == (0, "")
    code, out, _ = casekit("data", "check", "data.split.group_by=null", "model.max_length=16")
    assert (code, out.count("over the limit of 16")) == (2, 50)


def test_check_of_files_takes_the_columns_of_the_command_line(casekit: Run) -> None:
    write(*good(3), name="other.jsonl")
    assert casekit("data", "check", "other.jsonl")[0] == 0
    code, _, err = casekit("data", "check", "other.jsonl", "data.expected=[answer]")
    assert code == 2
    assert "data.expected no row has the column 'answer'" in err
    code, _, err = casekit("data", "check", "other.jsonl", "data.sources=[{path: a.jsonl}]")
    assert code == 2
    assert "data.sources names what to check, and so do the files" in err


def test_prepare_names_the_file_that_lists_the_rejected(casekit: Run) -> None:
    write(*good(60), "broken")
    code, out, _ = casekit("data", "prepare", "data.split.group_by=null")
    assert code == 0
    assert "each in rejected.jsonl" in out


def test_check_tells_what_every_source_was_read_as(casekit: Run) -> None:
    Path("b.csv").write_text("question;answer;topic\n" + "".join(f"Q {i}?;A {i}.;t{i}\n" for i in range(60)))
    columns = "{prompt: question, completion: answer}"
    words = (f"data.sources=[{{path: b.csv, columns: {columns}, max_rows: 55}}]", "data.split.group_by=null")
    code, out, _ = casekit("data", "check", *words)
    assert code == 0
    told = "b.csv: CSV in UTF-8; read as prompt_completion (prompt from question, completion from answer)"
    assert f"{told}; beside it topic" in " ".join(out.split())
    assert re.search(r"left out +5 ", out)
