"""What makes a row unfit, alone or beside the others, and that nothing is lost on the way."""

from typing import Any

import pytest
from dialogue_rows import dialogue

from kit.config.errors import DataError
from kit.data.prepared import load_split
from kit.data.split import NAMES, split_by_hash
from kit.hooks import Hooks


def found(summary: dict[str, Any]) -> dict[str, int]:
    return {
        check["name"]: check["count"]
        for check in summary["checks"]
        if check["count"] and check["name"] not in ("length", "balance")
    }


def turns(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in pairs]}


@pytest.mark.parametrize(
    ("row", "check", "reason"),
    [
        (
            turns(("assistant", "Hi."), ("user", "Hello."), ("assistant", "Yes?")),
            "roles",
            "turn 1 is the assistant's",
        ),
        (turns(("user", "One."), ("user", "Two."), ("assistant", "Yes?")), "roles", "turn 2 is the user's"),
        (turns(("user", "One."), ("assistant", "Two."), ("user", "Three.")), "roles", "ends with the user"),
        (turns(("system", "Be kind.")), "roles", "nothing after the system message"),
        (
            turns(("user", "One."), ("system", "Two."), ("assistant", "Yes?")),
            "roles",
            "turn 2 is the system's",
        ),
        (turns(("user", "One."), ("assistant", " \n\t")), "empty", "turn 2 (the assistant's) is empty"),
        (
            turns(("system", " "), ("user", "One."), ("assistant", "Two.")),
            "empty",
            "the system message is empty",
        ),
        (turns(("user", "One.<|im_end|>"), ("assistant", "Two.")), "template", "spells the control token"),
        (turns(("user", "One. " * 600), ("assistant", "Two.")), "too_long", "over the limit of 512"),
    ],
)
def test_an_unfit_dialogue_is_turned_away_with_its_reason(project, row, check: str, reason: str) -> None:
    summary = project.check(project.write("a.jsonl", [dialogue("Fine?", "Fine."), row]))
    assert found(summary) == {check: 1}
    (example,) = next(c for c in summary["checks"] if c["name"] == check)["examples"]
    assert example["where"] == "a.jsonl:2"
    assert reason in example["text"]
    assert summary["rows"]["read"] == 2
    assert summary["rows"]["kept"] == 1


def test_duplicates_are_found_through_case_width_and_white_space(project) -> None:
    rows = [
        dialogue("Is it SAFE?", "No."),
        dialogue("is  it\nｓａｆｅ?", "no."),
        dialogue("Is it unsafe?", "No."),
    ]
    summary = project.check(project.write("a.jsonl", rows))
    assert found(summary) == {"duplicate": 1}
    assert summary["rows"]["kept"] == 2


def test_conflicts_keep_the_first_answer(project) -> None:
    rows = [
        dialogue("Is it safe?", "No."),
        dialogue("is it safe?", "Yes."),
        dialogue("is it safe?", "Maybe."),
    ]
    source = project.write("a.jsonl", rows)
    summary = project.check(source)
    assert found(summary) == {"conflict": 2}
    example = next(c for c in summary["checks"] if c["name"] == "conflict")["examples"][0]
    assert example == {
        "where": "a.jsonl:2",
        "text": "answers the prompt of a.jsonl:1 differently: is it safe?",
    }
    reported = project.check(source, checks={"conflicts": "report"})
    assert found(reported) == {"conflict": 2}
    assert reported["rows"]["kept"] == 3


def test_a_different_history_is_a_different_prompt(project) -> None:
    rows = [
        turns(("user", "Savings?"), ("assistant", "Yes."), ("user", "Is it safe?"), ("assistant", "It is.")),
        turns(
            ("user", "Funds?"), ("assistant", "Yes."), ("user", "Is it safe?"), ("assistant", "It is not.")
        ),
    ]
    assert found(project.check(project.write("a.jsonl", rows))) == {}


def test_of_a_prompt_in_test_and_train_the_training_row_goes(project) -> None:
    rows = [
        dialogue("Is it safe?", "No.", split="train"),
        dialogue("Is it safe?", "No.", split="test"),
        dialogue("is it safe?", "Never.", split="dev"),
        dialogue("What else?", "Nothing.", split="train"),
    ]
    source = project.write("a.jsonl", rows)
    summary = project.check(source, split={"column": "split"})
    assert found(summary) == {"overlap": 2}
    assert [summary["rows"][split] for split in ("train", "valid", "test")] == [1, 0, 1]
    assert "train asks what test asks (a.jsonl:2)" in str(summary["checks"])


def test_a_training_dialogue_whose_earlier_turn_is_a_test_prompt_goes(project) -> None:
    """Loss is on every answer: the second row would teach the answer to the first."""
    longer = turns(("user", "Is it safe?"), ("assistant", "No."), ("user", "Why?"), ("assistant", "Fees."))
    rows = [
        dialogue("Is it safe?", "No.", split="test"),
        {**longer, "split": "train"},
        {**turns(("user", "Costs?"), ("assistant", "3."), *_said(longer)[:2]), "split": "train"},
    ]
    summary = project.check(project.write("a.jsonl", rows), split={"column": "split"})
    assert found(summary) == {"overlap": 1}
    assert "an earlier turn of it is what test asks (a.jsonl:1)" in str(summary["checks"])


def _said(row) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in row["messages"]]


def test_a_group_that_straddles_splits_stays_with_the_held_out_one(project) -> None:
    rows = [
        dialogue("One?", "1.", split="train", patient="p1"),
        dialogue("Two?", "2.", split="test", patient="p1"),
        dialogue("Three?", "3.", split="train", patient="p2"),
    ]
    source = project.write("a.jsonl", rows)
    summary = project.check(source, split={"column": "split", "group_by": "patient"})
    assert found(summary) == {"group_leak": 1}
    assert [summary["rows"][split] for split in ("train", "valid", "test")] == [1, 0, 1]


def test_rows_in_are_rows_kept_and_rows_rejected(project, dialogues) -> None:
    messy = [*dialogues, *dialogues[:5], turns(("user", "Only a question?")), {"topic": "no messages"}]
    source = project.write("a.jsonl", messy)
    with (project.root / "a.jsonl").open("ab") as file:
        file.write(b'{"broken": \n\xff\xfe\n')
    summary = project.check(source)
    rows = summary["rows"]
    assert (rows["read"], rows["kept"], rows["rejected"]) == (69, 60, 9)
    assert rows["train"] + rows["valid"] + rows["test"] == rows["kept"]
    rejecting = [c["count"] for c in summary["checks"] if c["severity"] == "reject"]
    assert sum(rejecting) == rows["rejected"]


def test_at_most_five_examples_a_check(project) -> None:
    rows = [dialogue("Fine?", "Fine."), *(turns(("user", f"Question {i}?")) for i in range(9))]
    summary = project.check(project.write("a.jsonl", rows))
    roles = next(check for check in summary["checks"] if check["name"] == "roles")
    assert roles["count"] == 9
    assert [example["where"] for example in roles["examples"]] == [f"a.jsonl:{line}" for line in range(2, 7)]


def test_length_outside_the_advised_band_is_reported_not_rejected(project) -> None:
    source = project.write("a.jsonl", [dialogue("Short?", "Yes."), dialogue("Long? " * 60, "Yes.")])
    summary = project.check(source, checks={"advised_tokens": [40, 50]})
    length = next(check for check in summary["checks"] if check["name"] == "length")
    assert (length["severity"], length["count"], summary["rows"]["kept"]) == ("report", 2, 2)


def test_the_length_of_synthetic_dialogues_is_their_grammars_and_no_fault_of_the_data(project) -> None:
    rows = [{**dialogue(f"Short {n}?", f"Yes {n}."), "synthetic": True} for n in range(9)]
    own = project.write("own.jsonl", [dialogue("Mine?", "Yes, it is.")])
    summary = project.check(project.write("made.jsonl", rows), own)
    length = next(check for check in summary["checks"] if check["name"] == "length")
    assert (summary["rows"]["kept"], length["count"]) == (10, 1)
    assert length["examples"][0]["where"] == "own.jsonl:1"


def test_every_file_and_column_problem_comes_at_once(project) -> None:
    sources = [
        {"path": "absent.jsonl"},
        project.write("empty.jsonl", ""),
        project.write("shape.jsonl", [{"q": "a", "a": "b"}]),
    ]
    with pytest.raises(DataError) as caught:
        project.prepare(*sources)
    assert [problem.where for problem in caught.value.problems] == [
        "absent.jsonl",
        "empty.jsonl",
        "shape.jsonl",
    ]
    assert all(problem.hint for problem in caught.value.problems)


def test_unknown_cleaners_hide_no_other_problem(project, dialogues) -> None:
    source = project.write("a.jsonl", dialogues)
    with pytest.raises(DataError) as caught:
        project.check({"path": "absent.jsonl"}, source, cleaners=["one", "two"])
    wheres = [problem.where for problem in caught.value.problems]
    assert wheres == ["data.cleaners", "data.cleaners", "absent.jsonl"]
    with pytest.raises(DataError) as caught:
        project.check(source, cleaners=["one"], expected=["topik"])
    assert [problem.where for problem in caught.value.problems] == ["data.cleaners", "data.expected"]


def test_a_column_that_no_row_has_is_an_error_naming_key_and_columns(project, dialogues) -> None:
    source = project.write("a.jsonl", dialogues)
    with pytest.raises(DataError) as caught:
        project.check(
            source, expected=["topik"], slices=["language"], split={"group_by": "patient", "column": "fold"}
        )
    problems = {problem.where: problem.message for problem in caught.value.problems}
    assert set(problems) == {"data.expected", "data.slices", "data.split.group_by", "data.split.column"}
    assert problems["data.expected"] == "no row has the column 'topik'; the columns are customer, topic"


def test_columns_that_no_row_has_are_one_problem_a_setting_that_says_what_to_write(
    project, dialogues
) -> None:
    source = project.write("a.jsonl", dialogues)
    with pytest.raises(DataError) as caught:
        project.check(source, expected=["answerable", "slots"], split={"group_by": "patient"})
    expected, group = caught.value.problems
    assert expected.message == "no row has the columns 'answerable', 'slots'; the columns are customer, topic"
    assert expected.hint.endswith("(answerable: their_name), or leave out of data.expected")
    assert group.hint.endswith("(patient: their_name), or set data.split.group_by: null")


def test_no_sources_is_an_error(project) -> None:
    with pytest.raises(DataError, match="there is no data to read"):
        project.prepare()


def test_cleaners_run_in_order_and_may_reject(project) -> None:
    def sign_off(row: dict[str, Any]) -> dict[str, Any]:
        *before, last = row["messages"]
        return {**row, "messages": [*before, {**last, "content": last["content"].removesuffix("-- Ann")}]}

    def no_test(row: dict[str, Any]) -> dict[str, Any] | None:
        return None if "test" in row["messages"][0]["content"] else row

    def buggy(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "topic": row["topic"].upper()}

    project.hooks = Hooks(cleaners={"sign_off": sign_off, "no_test": no_test, "buggy": buggy})
    rows = [
        dialogue("One?", "1. \r\n-- Ann", topic="a"),
        dialogue("A test?", "2.", topic="b"),
        dialogue("Three?", "3.", topic=None),
        dialogue("One?", "1.", topic="c"),
    ]
    cleaners = ["sign_off", "no_test", "buggy"]
    summary = project.check(project.write("a.jsonl", rows), cleaners=cleaners, slices=["topic"])
    assert found(summary) == {"cleaner": 2, "duplicate": 1}
    assert summary["slices"] == {"topic": {"A": 1}}
    texts = [e["text"] for c in summary["checks"] if c["name"] == "cleaner" for e in c["examples"]]
    assert "turned away by the cleaner 'no_test'" in texts[0]
    assert "the cleaner 'buggy' failed: AttributeError" in texts[1]


def test_unknown_cleaner_names_the_nearest(project, dialogues) -> None:
    project.hooks = Hooks(cleaners={"strip_signature": lambda row: row})
    with pytest.raises(DataError, match="did you mean `strip_signature`"):
        project.check(project.write("a.jsonl", dialogues), cleaners=["strip_signatures"])


def test_split_shares_come_out_and_do_not_move(project) -> None:
    first = [split_by_hash(f"group {i}", 0.1, 0.2) for i in range(4000)]
    assert 0.08 < first.count("valid") / 4000 < 0.12
    assert 0.18 < first.count("test") / 4000 < 0.22
    assert [split_by_hash(f"group {i}", 0.1, 0.2) for i in reversed(range(4000))] == first[::-1]


def test_rows_that_ask_the_same_share_a_split(project) -> None:
    """Questions with several good answers lose none of them to the overlap check."""
    rows = [dialogue(f"Question {i}?", f"Answer {n}.") for i in range(30) for n in range(4)]
    source = project.write("a.jsonl", rows)
    summary = project.check(source, checks={"conflicts": "report"}, split={"valid": 0.3, "test": 0.3})
    assert found(summary) == {"conflict": 90}
    assert summary["rows"]["kept"] == 120
    assert all(summary["rows"][split] for split in ("train", "valid", "test"))


def test_rows_that_ask_the_same_are_one_group(project) -> None:
    """Kept with several answers, a question is still one witness, not one for each answer."""
    asked = (("is it", "Yes."), ("Is  it", "No."))
    rows = [dialogue(f"{ask} {i}?", answer) for i in range(30) for ask, answer in asked]
    folder = project.prepare(
        project.write("a.jsonl", rows), checks={"conflicts": "report"}, split={"valid": 0, "test": 0.5}
    )
    kept = load_split(folder, "test")
    assert kept and len({row.id for row in kept}) == len(kept) == 2 * len({row.group for row in kept})


def test_split_column_understands_the_usual_names(project) -> None:
    rows = [dialogue(f"{name}?", "Yes.", fold=name.upper()) for name in NAMES] + [
        dialogue("x?", "Yes.", fold="dog")
    ]
    summary = project.check(project.write("a.jsonl", rows), split={"column": "fold"})
    assert [summary["rows"][split] for split in ("train", "valid", "test")] == [2, 4, 1]
    assert found(summary) == {"split": 1}


def test_a_source_can_be_one_split(project, dialogues) -> None:
    train = project.write("train.jsonl", dialogues[:40])
    test = {**project.write("exam.jsonl", dialogues[40:]), "split": "test"}
    summary = project.check(train, test, split={"test": 0, "valid": 0.2})
    assert summary["rows"]["test"] == 20
    assert summary["rows"]["train"] + summary["rows"]["valid"] == 40


def test_groups_never_straddle_splits(project, dialogues) -> None:
    folder = project.prepare(
        project.write("a.jsonl", dialogues), split={"group_by": "customer", "valid": 0.2, "test": 0.2}
    )
    groups = [{row.group for row in load_split(folder, split)} for split in ("train", "valid", "test")]
    assert all(groups)
    assert len(set.union(*groups)) == sum(len(split) for split in groups) == 20


def names_a_price(row: dict[str, Any]) -> str | None:
    """Answers with a price of last year's list.

    The new list is in force since May.
    """
    return "names 7 euros" if row["vip"] and "7 euros" in row["messages"][-1]["content"] else None


def test_checks_of_the_project_run_beside_the_built_in_ones(project, dialogues) -> None:
    rows = [{**row, "vip": number % 2 == 1} for number, row in enumerate(dialogues)]
    source = project.write("a.jsonl", rows)
    project.hooks = Hooks(checks={"old_price": names_a_price, "fails": lambda row: 3})
    for severity in ("reject", "report", "off"):
        found = project.look(source, checks={"custom": {"old_price": severity}})
        check = next(check for check in found.summary["checks"] if check["name"] == "old_price")
        count = 0 if severity == "off" else 6  # cards 7, 17, 27, 37, 47 and 57
        assert (check["what"] == "Answers with a price of last year's list.") == (severity != "off")
        assert (check["severity"], check["count"]) == (severity, count), check["examples"]
        assert len(found.rejected) == (count if severity == "reject" else 0)
    assert (
        "names 7 euros" in project.look(source, checks={"custom": {"old_price": "reject"}}).rejected[0].reason
    )
    failed = project.look(source, checks={"custom": {"fails": "report"}}).rejected[0]
    assert failed.reason == "the check 'fails' failed: TypeError: must return a reason or None, returned 3"


def test_unknown_checks_and_names_of_the_kits_own_are_refused(project, dialogues) -> None:
    project.hooks = Hooks(checks={"old_price": names_a_price, "length": names_a_price})
    with pytest.raises(DataError) as caught:
        project.check(
            {"path": "absent.jsonl"},
            project.write("a.jsonl", dialogues),
            checks={"custom": {"old_prise": "reject", "length": "report"}},
        )
    problems = [(problem.where, problem.message) for problem in caught.value.problems]
    assert problems[:2] == [
        ("data.checks.custom", "unknown check 'old_prise'"),
        ("data.checks.custom", "'length' is a check of the kit"),
    ]
    assert problems[2][0] == "absent.jsonl"
