"""Pairs and labelled answers: how they are read, what is wrong with them, what is written."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kit.config.errors import DataError
from kit.data.lookup import find_rows
from kit.data.prepared import load_split, load_summary
from kit.hooks import Hooks
from kit.terminal_rows import Look, rows_text


def pair(prompt: str, chosen: str, rejected: str, **fields: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **fields}


def pairs(count: int) -> list[dict[str, Any]]:
    """Distinct pairs with answers of like length."""
    return [
        pair(f"What does card {i} cost?", f"Card {i} costs {i} euros.", f"Ask counter {i} for it.")
        for i in range(count)
    ]


def labelled(count: int) -> list[dict[str, Any]]:
    rows = [{"prompt": row["prompt"], "completion": row["chosen"], "label": True} for row in pairs(count)]
    return rows + [
        {"prompt": row["prompt"], "completion": row["rejected"], "label": False} for row in pairs(count)
    ]


def rows_of(folder: Path) -> dict[int, Any]:
    return {row.line: row for split in ("train", "valid", "test") for row in load_split(folder, split)}


def found(summary: dict[str, Any]) -> dict[str, int]:
    left_out = ("length", "balance")
    return {c["name"]: c["count"] for c in summary["checks"] if c["count"] and c["name"] not in left_out}


def example(summary: dict[str, Any], check: str) -> dict[str, Any]:
    return next(c for c in summary["checks"] if c["name"] == check)["examples"][0]


def said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def turn(who: str, text: str) -> dict[str, str]:
    return {"from": who, "value": text}


ASKED = said("user", "Is it safe?")
GOOD, BAD = said("assistant", "No fund is."), said("assistant", "Yes, always.")
SYSTEM = said("system", "Be frank.")


# --- reading ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "format_name", "prompt"),
    [
        (pair("Is it safe?", "No fund is.", "Yes, always."), "preference", [ASKED]),
        (
            pair("Is it safe?", "No fund is.", "Yes, always.", system="Be frank."),
            "preference",
            [SYSTEM, ASKED],
        ),
        ({"prompt": [SYSTEM, ASKED], "chosen": [GOOD], "rejected": [BAD]}, "preference", [SYSTEM, ASKED]),
        # The prompt named and repeated, as in UltraFeedback.
        (
            {
                "prompt": "Is it safe?",
                "chosen": [ASKED, GOOD],
                "rejected": [ASKED, BAD],
                "messages": [ASKED, GOOD],
            },
            "preference",
            [ASKED],
        ),
        (
            {"chosen": [SYSTEM, ASKED, GOOD], "rejected": [SYSTEM, ASKED, BAD]},
            "preference_implicit",
            [SYSTEM, ASKED],
        ),
        (
            {
                "chosen": [turn("human", "Is it safe?"), turn("gpt", "No fund is.")],
                "rejected": [turn("human", "is it  SAFE?"), turn("gpt", "Yes, always.")],
            },
            "preference_implicit",
            [ASKED],
        ),
        (
            {
                "conversations": [turn("human", "Is it safe?")],
                "chosen": turn("gpt", "No fund is."),
                "rejected": turn("gpt", "Yes, always."),
                "system": "Be frank.",
            },
            "preference_sharegpt",
            [SYSTEM, ASKED],
        ),
        ({"messages": [ASKED], "chosen": GOOD, "rejected": [BAD]}, "preference_messages", [ASKED]),
        (
            {"instruction": "Is it safe?", "input": "", "chosen": "No fund is.", "rejected": "Yes, always."},
            "preference_alpaca",
            [ASKED],
        ),
    ],
)
def test_a_pair_in_every_shape_is_the_chosen_dialogue_and_the_rejected_answer(
    project, row, format_name: str, prompt
) -> None:
    source = project.write("a.jsonl", [row])
    others = project.write("b.jsonl", pairs(20))
    for named in ({}, {"format": format_name}):
        folder = project.prepare(others, source | named, stage="dpo")
        (info,) = (one for one in load_summary(folder)["sources"] if one["name"] == "a.jsonl")
        assert info["format"] == format_name and {"chosen", "rejected"} <= set(info["columns"])
        rows = [row for name in ("train", "valid", "test") for row in load_split(folder, name)]
        (found_row,) = (row for row in rows if row.source == "a.jsonl")
        assert found_row.messages == [*prompt, GOOD]
        assert found_row.rejected == BAD and found_row.label is None
        assert found_row.prompt == prompt and found_row.answer == GOOD["content"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"chosen": [ASKED, GOOD], "rejected": [said("user", "Is it new?"), BAD]}, "differ from turn 1 on"),
        ({"chosen": [ASKED, GOOD], "rejected": [ASKED, GOOD, ASKED, BAD]}, "differ from turn 2 on"),
        ({"chosen": [ASKED, GOOD], "rejected": [ASKED]}, "rejected ends with the user's turn"),
        ({"chosen": "No fund is.", "rejected": [ASKED, BAD]}, "chosen must be a list of turns"),
        ({"chosen": [ASKED, GOOD], "rejected": None}, "no rejected"),
    ],
)
def test_dialogues_that_are_no_pair_are_turned_away(project, row, reason: str) -> None:
    sound = {"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}
    summary = project.check(project.write("a.jsonl", [sound, row]), stage="dpo")
    assert found(summary) == {"format": 1}
    assert reason in example(summary, "format")["text"] and example(summary, "format")["where"] == "a.jsonl:2"


def test_a_prompt_that_the_dialogues_do_not_ask_is_turned_away(project) -> None:
    row = {"prompt": "Is it new?", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}
    summary = project.check(project.write("a.jsonl", [row, *pairs(2)]), stage="dpo")
    assert "`prompt` is not asked" in example(summary, "format")["text"]


@pytest.mark.parametrize(("good", "bad"), [(True, False), (1, 0), ("true", "False"), ("1", "0"), (1.0, 0.0)])
def test_labels_are_read_in_any_common_form(project, good, bad) -> None:
    rows = [row | {"label": good if row["label"] else bad} for row in labelled(20)]
    prepared = rows_of(project.prepare(project.write("a.jsonl", rows), stage="kto"))
    assert {line: row.label for line, row in prepared.items()} == {n: n <= 20 for n in range(1, 41)}
    assert prepared[1].rejected is None


def test_labels_of_dialogues_in_a_table_are_read_from_a_renamed_column(project) -> None:
    text = "question,answer,helpful\n" + "".join(f"Q{i}?,Yes {i}.,{i % 2}\n" for i in range(40))
    source = project.write("a.csv", text)
    columns = {"prompt": "question", "completion": "answer", "label": "helpful"}
    prepared = rows_of(project.prepare(source | {"columns": columns}, stage="kto"))
    assert prepared[2].label is False and prepared[3].label is True
    dialogue = {"messages": [ASKED, GOOD], "label": False}
    kept = project.look(project.write("b.jsonl", [dialogue]), stage="kto").summary["rows"]["kept"]
    assert kept == 1


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (None, "no label"),
        ("", "no label"),
        ("good", "found 'good'"),
        (2, "found 2"),
        ([True], "found [True]"),
    ],
)
def test_an_answer_with_another_label_is_turned_away(project, label, reason: str) -> None:
    rows = [*labelled(1), {"prompt": "Q?", "completion": "A.", "label": label}]
    summary = project.check(project.write("a.jsonl", rows), stage="kto")
    assert found(summary) == {"format": 1} and reason in example(summary, "format")["text"]


@pytest.mark.parametrize(
    ("stage", "row", "message", "hint"),
    [
        ("sft", pair("Q?", "A.", "B."), "holds pairs", "set train.stage: dpo or orpo"),
        (
            "sft",
            {
                "conversations": [turn("human", "Q?")],
                "chosen": turn("gpt", "A."),
                "rejected": turn("gpt", "B."),
            },
            "holds pairs",
            "set train.stage",
        ),
        ("kto", pair("Q?", "A.", "B."), "holds pairs", "set train.stage"),
        ("dpo", {"prompt": "Q?", "completion": "A."}, "holds single answers", "bring rows with `chosen`"),
        ("orpo", {"messages": [ASKED, GOOD]}, "holds single answers", "set train.stage: sft"),
        ("kto", {"prompt": "Q?", "completion": "A."}, "no column `label`", "label: their_name"),
        (
            "dpo",
            {"question": "Q?", "accepted": "A.", "worse": "B."},
            "no known format",
            "chosen: accepted, rejected: worse",
        ),
    ],
)
def test_a_file_that_does_not_fit_its_stage_is_refused_as_a_whole(
    project, stage: str, row, message: str, hint: str
) -> None:
    with pytest.raises(DataError) as refused:
        project.check(project.write("a.jsonl", [row]), stage=stage)
    (problem,) = refused.value.problems
    assert problem.where == "a.jsonl" and message in problem.message and hint in problem.hint


def test_the_chosen_answers_can_be_learned_alone_as_the_hint_says(project) -> None:
    explicit = project.write("a.jsonl", pairs(60))
    whole = project.write("b.jsonl", [{"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}])
    for source, columns in ((explicit, {"completion": "chosen"}), (whole, {"messages": "chosen"})):
        with pytest.raises(DataError, match=f"{next(iter(columns))}: chosen"):
            project.check(source)
        assert project.check(source | {"columns": columns})["rows"]["rejected"] == 0


def test_in_other_stages_a_label_and_a_chosen_answer_are_columns_like_any_other(project) -> None:
    rows = [
        {
            "messages": [said("user", f"Q{i}?"), said("assistant", f"A{i}.")],
            "label": f"l{i % 3}",
            "chosen": "x",
            "rejected": "y",
        }
        for i in range(60)
    ]
    folder = project.prepare(project.write("a.jsonl", rows), expected=["label", "chosen"])
    row = rows_of(folder)[2]
    assert row.expected == {"label": "l1", "chosen": "x"} and row.label is None and row.rejected is None
    assert load_summary(folder)["preference"] is None


def test_readers_and_cleaners_of_the_project_see_and_return_both_sides(project) -> None:
    def read(record):
        return {
            "messages": [said("user", record["q"]), said("assistant", record["best"])],
            "rejected": record["worst"],
        }

    def shout(row):
        return row | {"rejected": row["rejected"].upper()}

    def forget(row):
        return {"messages": row["messages"]}

    records = [{"q": f"Q{i}?", "best": f"Yes, {i}.", "worst": f"no, {i}."} for i in range(60)]
    project.hooks = Hooks(readers={"votes": read}, cleaners={"shout": shout, "forget": forget})
    source = project.write("a.jsonl", records) | {"format": "votes"}
    rows = rows_of(project.prepare(source, stage="dpo", cleaners=["shout"]))
    assert rows[3].rejected == said("assistant", "NO, 2.")
    summary = project.check(source, stage="dpo", cleaners=["forget"])
    assert found(summary) == {"cleaner": 60} and "no `rejected` answer" in example(summary, "cleaner")["text"]
    project.hooks = Hooks(readers={"votes": lambda record: {"messages": read(record)["messages"]}})
    assert found(project.check(source, stage="dpo")) == {"format": 60}


# --- checks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "check", "reason"),
    [
        (pair("Q?", "The same.", " the  SAME."), "same_answers", "the same"),
        (pair("Q?", "A.", " \n"), "empty", "the rejected answer is empty"),
        (pair("Q?", "A.", "B. " * 600), "too_long", "over the limit of 512"),
        (pair("Q?", "A.", "B.<|im_end|>"), "template", "spells the control token"),
        (
            pair("What does card 0 cost?", "Card 0 costs 0 euros.", "ask counter 0 for it."),
            "duplicate",
            "same as a.jsonl:1",
        ),
        (
            pair("What does card 0 cost?", "Ask counter 0 for it.", "Card 0 costs 0 euros."),
            "conflict",
            "states the pair of a.jsonl:1 the other way round",
        ),
    ],
)
def test_an_unfit_pair_is_turned_away_with_its_reason(project, row, check: str, reason: str) -> None:
    split = {"valid": 0.0, "test": 0.0}
    summary = project.check(project.write("a.jsonl", [*pairs(3), row]), stage="dpo", split=split)
    assert found(summary) == {check: 1}, summary["checks"]
    assert reason in example(summary, check)["text"] and example(summary, check)["where"] == "a.jsonl:4"


def test_of_contradicting_pairs_stays_what_conflicts_keep_says(project) -> None:
    one = pair("Q?", "Yes, it is.", "No, never.")
    other = pair("Q?", "No, never.", "Yes, it is.")
    source = project.write("a.jsonl", [one, other, other | {"id": 2}, *pairs(2)])
    split = {"valid": 0.0, "test": 0.0}
    lines = {}
    for keep in ("first", "majority", "none"):
        look = project.look(source, stage="dpo", split=split, checks={"conflicts_keep": keep})
        lines[keep] = [r.where for r in look.rejected if r.check == "conflict"]
    assert lines == {"first": ["a.jsonl:2"], "majority": ["a.jsonl:1"], "none": ["a.jsonl:1", "a.jsonl:2"]}


def test_several_pairs_for_one_prompt_are_welcome(project) -> None:
    """Best of three, and the same prompt with near answers: neither conflict nor variant."""
    rows = [
        pair("Q?", "Best one.", "Second one."),
        pair("Q?", "Best one.", "Third one."),
        pair("Q?", "Second one.", "Third one."),
    ]
    assert found(project.check(project.write("a.jsonl", rows), stage="dpo")) == {}


def test_one_answer_with_both_labels_is_a_conflict_and_many_answers_are_none(project) -> None:
    rows = [
        *labelled(3),
        {"prompt": "What does card 0 cost?", "completion": "Card 0 costs 0 euros.", "label": False},
    ]
    split = {"valid": 0.0, "test": 0.0}
    summary = project.check(project.write("a.jsonl", rows), stage="kto", split=split)
    assert found(summary) == {"conflict": 1}
    assert "labels the answer of a.jsonl:1 otherwise" in example(summary, "conflict")["text"]


def test_a_near_duplicate_is_near_on_both_sides(project) -> None:
    long = "You can block the card in the app, under settings and then security"
    first = pair(
        "How do I block a card?", f"{long}.", "I would rather not tell you anything about your cards."
    )
    near = pair(
        "How do I block a card?", f"{long}!!", "I would rather not tell you anything about your cards!"
    )
    other = pair("How do I block a card?", f"{long}!", "Call somebody else who may know.")
    split = {"valid": 0.0, "test": 0.0}
    summary = project.check(project.write("a.jsonl", [first, near, other]), stage="dpo", split=split)
    assert found(summary) == {"near_duplicate": 1}
    assert example(summary, "near_duplicate")["where"] == "a.jsonl:2"
    rows = [
        {"prompt": first["prompt"], "completion": text, "label": good}
        for text, good in ((f"{long}.", True), (f"{long}!", False))
    ]
    assert found(project.check(project.write("b.jsonl", rows), stage="kto", split=split)) == {}


def test_personal_data_has_the_same_mask_on_both_sides(project) -> None:
    row = pair(
        "I am ana.ruiz@example.org.",
        "Thank you, I wrote to ana.ruiz@example.org.",
        "I told bob@example.org about ana.ruiz@example.org, card 4111 1111 1111 1111.",
    )
    source = project.write("a.jsonl", [row, *pairs(20)])
    folder = project.prepare(source, stage="dpo", personal="mask")
    masked = rows_of(folder)[1]
    assert masked.answer == "Thank you, I wrote to [EMAIL_1]."
    assert masked.rejected["content"] == "I told [EMAIL_2] about [EMAIL_1], card [CARD_1]."
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"ruiz" not in written and b"4111 1111" not in written
    summary = project.check(source, stage="dpo", personal="reject")
    assert "in the rejected answer" in example(summary, "personal")["text"]


def test_masks_can_make_two_answers_the_same(project) -> None:
    row = pair("Who?", "Write to ana@example.org.", "Write to bob@example.org.")
    kept = project.check(project.write("a.jsonl", [row]), stage="dpo", personal="mask")
    assert kept["rows"]["kept"] == 1  # two people, two masks
    same = pair("Who?", "Call +44 20 7946 0958.", "Call 020 7946 0958.")
    summary = project.check(
        project.write("a.jsonl", [same]), stage="dpo", personal="mask", personal_kinds=["phone"]
    )
    assert found(summary).get("same_answers") == 1


def test_a_benchmark_is_looked_for_in_the_rejected_answer_too(project) -> None:
    project.write("exam.jsonl", [{"text": "The quick brown fox jumps over the lazy dog."}])
    row = pair("Q?", "A.", "The quick brown fox jumps over the lazy dog.")
    summary = project.check(
        project.write("a.jsonl", [row, *pairs(2)]) | {"split": "train"},
        stage="dpo",
        benchmarks=["exam.jsonl"],
    )
    assert found(summary) == {"benchmark": 1}


def test_the_longer_side_counts(project) -> None:
    answers = ("A.", "B b b b b b b b b b b b.")
    rows = [pair("Q?", *answers), pair("Q?", *reversed(answers))]
    tokens = [project.check(project.write("a.jsonl", [row]), stage="dpo")["tokens"]["max"] for row in rows]
    assert tokens[0] == tokens[1] > 20


# --- what is told ----------------------------------------------------------------------------------------


def test_chosen_answers_that_are_longer_are_told(project) -> None:
    rows = [
        pair(f"Q{i}?", f"Yes, {i}, " + "and more, " * (5 if i % 10 else 0), f"No, not {i} at all.")
        for i in range(60)
    ]
    folder = project.prepare(project.write("a.jsonl", rows), stage="dpo")
    summary = load_summary(folder)
    assert summary["preference"] == {
        "pairs": 60,
        "chosen_longer": 0.9,
        "chosen_shorter": 0.1,
        "chosen_words": 12,
        "rejected_words": 5,
        "desirable": 0,
        "undesirable": 0,
    }
    texts = [e["text"] for e in next(c for c in summary["checks"] if c["name"] == "balance")["examples"]]
    assert any("the chosen answer is the longer one in 90% of the pairs" in text for text in texts)
    page = (folder / "data.html").read_text()
    assert "longer one in 90% of them" in page and "12 words chosen" in page
    assert ">Chosen, " in page and ">Rejected, " in page

    even = load_summary(project.prepare(project.write("b.jsonl", pairs(60)), stage="dpo"))
    assert "pairs" not in json.dumps(next(c for c in even["checks"] if c["name"] == "balance"))


def test_labels_of_one_kind_are_told(project) -> None:
    rows = [row for row in labelled(40) if row["label"] or row["prompt"].startswith("What does card 1 ")]
    summary = project.check(project.write("a.jsonl", rows), stage="kto")
    assert summary["preference"]["desirable"] == 40 and summary["preference"]["undesirable"] == 1
    examples = next(c for c in summary["checks"] if c["name"] == "balance")["examples"]
    assert [e["text"] for e in examples if e["where"] == "label=true"] == [
        "40 of 41 answers have this label: little shows what is not wanted"
    ]


def test_prepared_pairs_load_as_trl_reads_them(project) -> None:
    import datasets

    table = datasets.load_from_disk(
        str(project.prepare(project.write("a.jsonl", pairs(60)), stage="dpo") / "train")
    )
    row = table[0]
    assert row["rejected"][0]["role"] == "assistant" and row["label"] is None
    assert set(row) >= {"messages", "rejected", "label"}
    plain = project.write("b.jsonl", [{"prompt": f"Q{i}?", "completion": f"A{i}."} for i in range(60)])
    assert datasets.load_from_disk(str(project.prepare(plain) / "test"))[0]["rejected"] is None


def test_show_has_both_sides_with_loss_on_the_last_answer_alone(project) -> None:
    before = [said("user", "Hello."), said("assistant", "Hi, how can I help?")]
    rows = [row | {"prompt": [*before, said("user", row["prompt"])]} for row in pairs(60)]
    source = project.write("a.jsonl", rows)
    places = find_rows(project.prepare(source, stage="dpo"), "a.jsonl:1")
    config = project.config(source, stage="dpo")
    text = rows_text(places, project.tokenizer, config, Look(colour=True, tokens=False))
    assert re.search(r"a\.jsonl:1, id \w+, chosen: ", text.plain)
    assert re.search(r"a\.jsonl:1, id \w+, rejected: ", text.plain)
    _, *trained = [text.plain[span.start : span.end] for span in text.spans if span.style == "bold green"]
    assert trained == ["Card 0 costs 0 euros.<|im_end|>", "Ask counter 0 for it.<|im_end|>"]
