"""What `casekit compare` takes for answers: how files are paired, and every fault of them."""

import json
import random

import pytest
from compare_samples import accuracy, casekit, often_wrong, read, right, rows_of, two, write

__all__ = ["casekit", "two"]  # fixtures


def test_ids_of_one_file_only_are_counted_and_named(casekit, tmp_path):
    old = write(tmp_path / "old.jsonl", rows_of(often_wrong)[7:])
    new = write(tmp_path / "new.jsonl", rows_of(right)[:-2])
    code, _, warned = casekit("compare", old, new, "-m", "closed_accuracy", "--out", tmp_path / "out")
    assert code == 0
    assert "2 answers of old left out" in warned and "q058, q059." in warned
    assert "7 answers of new left out" in warned and "q000, q001, q002, q003, q004 and 2 more" in warned
    report = read(tmp_path / "out" / "report.json")
    assert report["prompts"] == 51
    assert report["left_out"]["old"] == ["q058", "q059"] and len(report["left_out"]["new"]) == 7
    assert "7 answers of new left out" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_no_shared_id_is_not_enough_evidence(casekit, two, tmp_path):
    other = write(tmp_path / "other.jsonl", [{**row, "id": f"x{row['id']}"} for row in rows_of(right)])
    code, _, said = casekit("compare", two[0], other, "-m", "closed_accuracy", "--out", tmp_path / "out")
    assert code == 3
    assert "old has 60, such as q000; other has 60, such as xq000" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": "Is 9 odd?"}, "`prompt` of id 'q003' is 'Is 9 odd?', and 'Is 3 even?' in"),
        ({"expected": {"label": "yes"}}, "`expected` of id 'q003'"),
        ({"slices": {"size": "large"}}, "`slices` of id 'q003'"),
    ],
)
def test_one_id_with_two_meanings_is_invalid_and_named(casekit, two, tmp_path, change, said):
    rows = rows_of(right)
    rows[3] |= change
    rows[5] |= {key: None if key == "slices" else value for key, value in change.items()}
    rows[5] |= {"expected": {"label": "maybe"}} if "expected" in change else {}
    bad = write(tmp_path / "bad.jsonl", rows)
    code, _, told = casekit("compare", two[0], bad, "-m", "closed_accuracy", "--out", tmp_path / "out")
    assert code == 4
    assert said in told and "bad.jsonl:4" in told and "old.jsonl:4" in told
    assert ("2 ids differ so: q003, q005" in told) == ("slices" not in change), "null is left out"


def test_true_and_1_are_not_the_same_expectation(casekit, tmp_path):
    old = write(
        tmp_path / "old.jsonl", [*rows_of(right), {**rows_of(right)[0], "id": "z", "expected": {"a": 1}}]
    )
    new = write(
        tmp_path / "new.jsonl", [*rows_of(right), {**rows_of(right)[0], "id": "z", "expected": {"a": True}}]
    )
    assert casekit("compare", old, new, "-m", "exact_match", "--out", tmp_path / "out")[0] == 4


def test_flags_are_read_in_any_spelling_before_files_are_held_together(casekit, two, tmp_path):
    rows = {}
    for name, flag in (("old", True), ("new", " Yes")):
        rows[name] = [
            {
                **row,
                "expected": {
                    "area": "a long label of the clinic's own, which says where",
                    "answerable": flag,
                },
            }
            for row in rows_of(right)
        ]
    how = ("-m", "repetition", "--out", tmp_path / "out")
    old, new = (write(tmp_path / f"{name}.jsonl", lines) for name, lines in rows.items())
    code, _, said = casekit("compare", old, new, *how)
    assert code == 0, said

    rows["new"][3]["expected"]["answerable"] = "no"
    code, _, said = casekit("compare", old, write(new, rows["new"]), *how)
    assert code == 4, "and the field that differs is shown, not the beginning of all"
    assert (
        "new.jsonl:4 `expected` of id 'q003' is '{\"answerable\": false}', and '{\"answerable\": true}' in"
        in said
    )


def test_what_one_file_leaves_out_another_may_say(casekit, two, tmp_path):
    bare = [{key: row[key] for key in ("id", "prompt", "output")} for row in rows_of(often_wrong)]
    bare[0] |= {"expected": None, "finished": None}
    whole, part = two[1], write(tmp_path / "part.jsonl", bare)
    for systems in ((part, whole), (whole, part)):
        assert casekit("compare", *systems, "-m", "closed_accuracy", "--out", tmp_path / "out")[0] == 0
        found = accuracy(read(tmp_path / "out" / "report.json"))
        assert found["n"] == 60 and {part["value"] for part in found["slices"]} == {"small", "large"}


def test_every_fault_of_a_file_is_told_with_its_line(casekit, two, tmp_path):
    rows = [json.dumps(row) for row in rows_of(right)[:3]]
    faults = [
        '{"id": "a", "prompt": "p", "output": "o", "slice": {}}',
        '{"id": "b", "prompt": "p", "output": "o", "slice": {}}',
        '{"id": "c", "prompt": "p"}',
        '{"id": "d", "prompt": "p", "output": ["o"]}',
        '{"id": "e", "prompt": "p", "output": "o", "finished": "yes"}',
        "[1]",
        '{"id": "f", "id": "g", "prompt": "p", "output": "o"}',
        "{",
        rows[1],
        '{"id": "h", "prompt": "p", "output": "\\ud800"}',
        "",
    ]
    bad = tmp_path / "bad.jsonl"
    bad.write_text("\n".join(rows + faults), encoding="utf-8")
    code, _, said = casekit("compare", two[0], bad, "-m", "closed_accuracy", "--out", tmp_path / "out")
    assert code == 2
    for line, words in (
        (4, "unknown field `slice`, here and on 1 more lines"),
        (6, "`output` is missing"),
        (7, "`output` is '[\"o\"]', expected text"),
        (8, "`finished` is 'yes', expected true or false"),
        (9, "expected a JSON object"),
        (10, "the key 'id' stands twice"),
        (11, "not JSON"),
        (12, "the id 'q001' stands twice"),
        (13, "holds half of a surrogate pair"),
    ):
        assert f"bad.jsonl:{line} {words}" in said, line
    assert "did you mean `slices`?" in said and f"it is the id of {bad}:2 too" in said


def test_files_that_hold_nothing_or_are_not_there(casekit, two, tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "latin.jsonl").write_bytes('{"id": "é"}'.encode("latin-1"))
    how = ("-m", "closed_accuracy", "--out", tmp_path / "out", "-p", tmp_path)
    code, _, said = casekit("compare", two[0], tmp_path / "empty.jsonl", *how)
    assert code == 2 and "holds no answer" in said
    code, _, said = casekit("compare", two[0], tmp_path / "latin.jsonl", *how)
    assert code == 2 and "not UTF-8" in said
    code, _, said = casekit("compare", "nowhere.jsonl", "e1:base", *how)
    assert code == 2 and "nowhere.jsonl neither a file of answers" in said and "e1:base neither" in said
    code, _, said = casekit("compare", two[0], *how)
    assert code == 2 and "name two or more" in said


def test_the_order_of_lines_changes_no_byte_of_the_scores(casekit, tmp_path):
    dice = random.Random(3)
    old, new = rows_of(often_wrong), rows_of(right)
    metrics = [word for name in ("closed_accuracy", "macro_f1", "repetition") for word in ("-m", name)]
    found = []
    for turn in range(3):
        files = [write(tmp_path / f"{name}.jsonl", rows) for name, rows in (("old", old), ("new", new))]
        assert casekit("compare", *files, *metrics, "--out", tmp_path / f"out{turn}")[0] == 0
        found.append((tmp_path / f"out{turn}" / "scores.json").read_bytes())
        dice.shuffle(old)
        dice.shuffle(new)
    assert found[0] == found[1] == found[2]


def test_prompts_that_are_the_same_are_one_group_unless_a_group_is_named(casekit, tmp_path):
    def files(**more):
        rows = [rows_of(answer, 12) for answer in (often_wrong, right)]
        for side in rows:
            for row in side:
                row |= {"prompt": "Even?"} | more
        return [write(tmp_path / f"{n}.jsonl", side) for n, side in enumerate(rows)]

    casekit("compare", *files(), "-m", "closed_accuracy", "--out", tmp_path / "out")
    assert accuracy(read(tmp_path / "out" / "report.json"))["groups"] == 1
    for number, path in enumerate(files(group=7)):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows[0]["group"] = "another"
        write(tmp_path / f"{number}.jsonl", rows)
    casekit(
        "compare",
        tmp_path / "0.jsonl",
        tmp_path / "1.jsonl",
        "-m",
        "closed_accuracy",
        "--out",
        tmp_path / "out",
    )
    assert accuracy(read(tmp_path / "out" / "report.json"))["groups"] == 2


def test_flags_in_any_spelling_meet_and_what_is_none_is_told_with_its_line(casekit, two, tmp_path):
    """A spreadsheet's `yes` is the `true` of prepared data: neither another expectation nor a rule unseen."""
    spelled = [("yes", True), ("No", False), (1, "true"), ("", None)]

    def flagged(side):
        rows = rows_of(right, 60)
        return [
            row | {"expected": {**row["expected"], "answerable": spelled[number % 4][side]}}
            for number, row in enumerate(rows)
        ]

    ours, theirs = (write(tmp_path / f"{side}.jsonl", flagged(side)) for side in (0, 1))
    code, _, err = casekit("compare", ours, theirs, "-m", "closed_accuracy", "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    rows = flagged(0)
    rows[8]["expected"]["answerable"] = "partly"
    code, _, err = casekit(
        "compare", write(ours, rows), theirs, "-m", "closed_accuracy", "--out", tmp_path / "out"
    )
    told = " ".join(err.split())
    assert code == 2 and "0.jsonl:9 `expected.answerable`: expected yes or no" in told and "'partly'" in told
