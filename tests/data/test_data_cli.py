"""`casekit data check` as a person types it: every problem with file, line and reason."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from dialogue_rows import dialogue

from kit.data.prepared import load_split
from kit.data.rows import SPLITS

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


def test_flags_are_read_in_any_spelling_of_yes_and_no_and_nothing_else(casekit: Run) -> None:
    """As a spreadsheet has them: `yes`, read as text, would count as no."""
    spelled = ["yes", "No", "TRUE", "false", "1", "0", "Y", ""]
    flags = [spelled[number % len(spelled)] for number in range(80)]
    lines = [f"Question {number}?,Yes {number}.,t{number},{flag}" for number, flag in enumerate(flags)]
    write("prompt,completion,topic,red_flag", *lines, name="a.csv")
    words = ("data.sources=[{path: a.csv}]", "data.expected=[red_flag]")
    code, _, err = casekit("data", "prepare", *words)
    assert code == 0, err
    (folder,) = Path("data/prepared").iterdir()
    rows = [row for split in SPLITS for row in load_split(folder, split)]
    wanted = {"yes": True, "true": True, "1": True, "y": True, "no": False, "false": False, "0": False}
    assert len(rows) == 80
    for row in rows:
        assert row.expected["red_flag"] is wanted.get(flags[row.line - 2].lower())

    lines[4] = "Question 4?,Yes 4.,t4,perhaps"
    write("prompt,completion,topic,red_flag", *lines, name="a.csv")
    code, out, _ = casekit("data", "check", *words)
    assert code == 2
    first, *rest = out.splitlines()
    assert first == "a.csv:6: `red_flag`: expected yes or no (or true, false, 1, 0), found 'perhaps'"
    assert not any(line.startswith("a.csv:") for line in rest)


def test_stages_of_a_chain_without_rows_are_told_when_the_data_is_read(casekit: Run) -> None:
    """`casekit config` cannot know; checking and preparing do, and training names what to prepare."""
    write(*good(60))
    for command in ("check", "prepare"):
        code, out, err = casekit("data", command, "train.stages=[sft, dpo]")
        assert code == 2
        assert "train.stages the stage dpo has no row in train and valid" in out + err
        assert "bring more rows with `chosen` and `rejected`" in out + err


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


def test_a_file_of_the_project_is_named_from_the_project_though_no_source_names_it(casekit: Run) -> None:
    write(*good(3), "broken", name="other.jsonl")
    _, out, _ = casekit("data", "check", str(Path("other.jsonl").resolve()))
    assert out.startswith("other.jsonl:4: not JSON")
    assert str(Path.cwd()) not in out


def test_the_table_says_without_colour_which_checks_reject_and_which_only_report(casekit: Run) -> None:
    write(*good(3), "broken", name="other.jsonl")
    _, out, _ = casekit("data", "check", "other.jsonl")
    lines = {line.split()[0]: line.split(maxsplit=2)[2] for line in out.splitlines() if "  1  r" in line}
    assert lines["unreadable"].startswith("rejected: records")
    assert " 3  reported: dialogues outside the advised length" in out


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


def test_a_file_of_a_source_is_checked_as_the_source_says(casekit: Run) -> None:
    Path("b.csv").write_text("q,a,topic\n" + "".join(f"Q {i}?,A {i}.,t{i}\n" for i in range(60)))
    project = Path("conf/project.yaml").read_text()
    columns = "{prompt: q, completion: a}"
    both = f"{{path: a.jsonl}}, {{path: b.csv, columns: {columns}, max_rows: 5}}"
    Path("conf/project.yaml").write_text(project.replace("{path: a.jsonl}", both))
    write(*good(60))
    for name in ("b.csv", str(Path("b.csv").resolve())):
        code, out, err = casekit("data", "check", name)
        assert (code, err) == (0, "")
        assert "b.csv: CSV in UTF-8; read as prompt_completion (prompt from q, completion from a)" in (
            " ".join(out.split())
        )
        assert re.search(r"kept +60 ", out), "the share of a mix is no matter of one file"


def test_a_file_alone_that_would_leave_a_split_empty_is_warned_of_and_passes(casekit: Run) -> None:
    write(*good(3), name="other.jsonl")
    code, _, err = casekit("data", "check", "other.jsonl")
    assert code == 0
    assert "warning data nothing usable is left in " in err


def test_a_broken_line_says_at_once(casekit: Run) -> None:
    write(*good(60), '{"messages": "a\tb"}', '{"messages" 1}')
    _, out, _ = casekit("data", "check")
    assert "a.jsonl:61: not JSON: Invalid control character at column 16" in out
    assert "a.jsonl:62: not JSON: Expecting ':' delimiter at column 13" in out


def test_a_label_that_the_policy_does_not_know_is_told_before_training(casekit: Run) -> None:
    Path("conf/policy.yaml").write_text("recommendations: {emergency: ['call 911'], home: ['rest']}\n")
    rows = good(60)
    for number, label in ((58, "hospital"), (59, "hospital"), (57, "home")):
        row = dialogue(f"Ill {number}?", "Rest.", topic=f"t{number}", advice=label, part="test")
        rows[number] = json.dumps(row)
    write(*rows)
    words = (
        "data.split.group_by=null",
        "data.split.column=part",
        "data.sources=[{path: a.jsonl, columns: {recommendation: advice}}]",
        "data.expected=[recommendation]",
        "evaluate.metrics=[{name: recommendation_accuracy, params: {policy: conf/policy.yaml}}]",
    )
    assert casekit("data", "prepare", *words)[0] == 0
    code, _, err = casekit("train", *words)
    assert code == 2
    assert "a.jsonl:59 recommendation_accuracy: the label 'hospital' is none of `recommendations`" in err
    assert "(emergency, home); 2 held-out rows have it" in err
    assert not Path("runs").exists()
