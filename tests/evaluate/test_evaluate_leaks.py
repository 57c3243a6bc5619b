"""Test prompts that stand in training rows: hand-worked cases of each kind, and of what is none."""

from dataclasses import replace

import datasets
import pytest
from training_rows import prepared, prompt, row, turns

from kit.evaluate.alike import most_alike
from kit.evaluate.leaks import find_leaks
from kit.evaluate.training import COMMON, look_through

ASKED = "I lost my debit card at the station this morning, can you block it before somebody uses it?"
ANSWER = "It is blocked."


def leaks(prompts, folder):
    training = look_through(prompts, folder)
    return find_leaks(prompts, training, most_alike(prompts, training, 0.8))


def only(prompts, folder):
    (found,) = leaks(prompts, folder)
    return found


def test_the_same_text_is_found_whatever_its_case_and_spaces(tmp_path):
    folder = prepared(tmp_path, turns("Hello?", "Hi."), turns(f"  {ASKED.upper()}\n", ANSWER))
    found = only([prompt("Is it open?", 1), prompt(ASKED, 2)], folder)
    assert (found.kind, found.id, found.similarity) == ("exact", "0002", 1.0)
    assert (found.test.where, found.train.where) == ("test.jsonl:3", "train.jsonl:2")
    assert found.train.id == f"{1:016x}" and found.differs == ("", "")
    assert found.as_json()["test"]["text"] == ASKED


def test_a_system_message_does_not_hide_a_leak(tmp_path):
    told = [{"role": "system", "content": "Be brief."}, *turns(ASKED, ANSWER)]
    assert only([prompt(ASKED)], prepared(tmp_path, told)).kind == "exact"


def test_an_earlier_turn_of_a_dialogue_is_learned_too(tmp_path):
    folder = prepared(tmp_path, turns(ASKED, ANSWER, "Thanks, and now?", "Wait for the new one."))
    assert only([prompt(ASKED)], folder).kind == "exact"


def test_of_a_preference_only_the_last_answer_is_learned(tmp_path):
    short = "Block my card."
    rows = [row(0, turns(short, ANSWER, "And now?", "Wait.")) | {"label": True}]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "train"))
    assert leaks([prompt(short)], tmp_path) == []


def test_a_slip_of_the_pen_is_near_and_the_differing_words_are_shown(tmp_path):
    folder = prepared(tmp_path, turns(ASKED.replace("station", "stations"), ANSWER))
    found = only([prompt(ASKED)], folder)
    assert found.kind == "near" and 0.9 < found.similarity < 1
    assert found.differs == ("station", "stations")


@pytest.mark.parametrize(
    ("asked", "trained"),
    [
        ("Send 50 euros to Mia today.", "Send 500 euros to Mia today."),
        ("My card is charged twice.", "My card is not charged twice."),
        ("Is glycogen storage type IX rare?", "Is glycogen storage type IV rare?"),
        ("Where is my parcel?", "How do I open an account?"),
    ],
)
def test_another_number_denial_or_name_is_another_question(asked, trained, tmp_path):
    assert leaks([prompt(asked)], prepared(tmp_path, turns(trained, ANSWER))) == []


RUN = "can you block it before somebody in the city uses it to buy things"
"""Fifteen words."""


@pytest.mark.parametrize(
    "trained",
    [
        turns(f"My wallet is gone since noon; {RUN}?", ANSWER),
        turns("What do people ask?", f"They say: {RUN.upper()}!"),
        [{"role": "document", "content": f"A story of a thief. {RUN}. The end."}],
    ],
)
def test_a_long_run_of_words_is_found_whoever_says_it(trained, tmp_path):
    found = only(
        [prompt(f"I lost my card; {RUN}, please?")], prepared(tmp_path, turns("Hi.", "Hello."), trained)
    )
    assert (found.kind, found.similarity, found.shared) == ("13-gram", None, RUN)
    assert found.train.where == "train.jsonl:2" and RUN in found.train.text.lower()


def test_a_run_of_characters_is_found_in_chinese(tmp_path):
    shared = "请问我的银行卡丢了应该怎么办"
    found = only(
        [prompt(f"您好，{shared}？谢谢")], prepared(tmp_path, turns(f"早安。{shared}呢？", "已冻结。"))
    )
    assert (found.kind, found.shared) == ("13-gram", shared)


def test_twelve_words_are_no_leak(tmp_path):
    twelve = " ".join(RUN.split()[:12])
    folder = prepared(tmp_path, turns(f"{twelve} now and here", ANSWER))
    assert leaks([prompt(f"Please {twelve} or else")], folder) == []


def test_a_run_does_not_go_on_from_one_message_into_the_next(tmp_path):
    half = RUN.split()
    folder = prepared(tmp_path, turns(" ".join(half[:8]), " ".join(half[8:])))
    assert leaks([prompt(f"I lost my card; {RUN}?")], folder) == []


@pytest.mark.parametrize("apart", [("{first}", "{last}"), ("{first}. And {last}", ANSWER)])
def test_a_run_that_a_row_holds_in_overlapping_parts_is_told_by_the_longest_part(apart, tmp_path):
    asked = f"{RUN} tomorrow".split()
    parts = {"first": " ".join(asked[:13]), "last": " ".join(asked[1:])}
    folder = prepared(tmp_path, turns(*(text.format(**parts) for text in apart)))
    found = only([prompt(f"I lost my card; {RUN} tomorrow?")], folder)
    assert (found.kind, found.train.where, found.shared) == ("13-gram", "train.jsonl:1", parts["last"])
    assert parts["last"] in found.train.text


def test_the_row_that_shares_most_is_named(tmp_path):
    longer = f"{RUN} and more of it"
    folder = prepared(tmp_path, turns(f"First {RUN} only", ANSWER), turns(f"Then {longer}", ANSWER))
    found = only([prompt(f"I lost my card; {longer}?")], folder)
    assert (found.train.where, found.shared) == ("train.jsonl:2", longer)


def test_a_form_of_words_is_no_leak(tmp_path):
    """Brown et al. 2020: a run in more than ten training rows is boilerplate."""
    asked = [prompt(f"I lost my card; {RUN}, please?")]
    ten = [turns(f"Number {n}: {RUN}", f"Done {n}.") for n in range(COMMON)]
    assert only(asked, prepared(tmp_path / "ten", *ten)).train.where == "train.jsonl:1"
    eleven = [*ten, turns(f"Number 11: {RUN}", "Done.")]
    assert leaks(asked, prepared(tmp_path / "eleven", *eleven)) == []


@pytest.mark.parametrize("trained", ["{asked}", "{asked} Thanks a lot!", "So {asked} and more"])
def test_personal_data_is_left_out_of_what_is_listed(trained, tmp_path):
    said = f"I lost my card; {RUN}, write to mia.keller@example.com or call +49 30 901820 please"
    found = only([prompt(said)], prepared(tmp_path, turns(trained.format(asked=said), ANSWER)))
    listed = str(found.as_json())
    assert "mia.keller" not in listed and "901820" not in listed and RUN.split()[0] in listed


def test_the_surest_kind_is_told(tmp_path):
    longer = f"I lost my card; {RUN}?"
    folder = prepared(tmp_path, turns(f"Hm, {RUN}", ANSWER), turns(longer, ANSWER))
    found = only([prompt(longer)], folder)
    assert (found.kind, found.train.where) == ("exact", "train.jsonl:2")


def test_a_group_that_is_in_training_leaks_whatever_is_asked(tmp_path):
    patient = [row(n, turns(f"Question {n}?", ANSWER)) | {"group": f"patient {n % 2}"} for n in range(4)]
    datasets.Dataset.from_list(patient).save_to_disk(str(tmp_path / "train"))
    asked = [replace(prompt("Is it far?", n), group=f"patient {n}") for n in (1, 7)]
    found = only(asked, tmp_path)
    assert (found.kind, found.id, found.train.where) == ("group", "0001", "train.jsonl:2")
    assert found.similarity is None and found.train.text == "Question 1?"


def test_without_training_rows_nothing_is_looked_up(tmp_path):
    assert look_through([prompt(ASKED)], tmp_path) is None


def test_the_order_of_the_prompts_changes_nothing(tmp_path):
    folder = prepared(tmp_path, turns(ASKED, ANSWER), turns(f"Hm, {RUN}", ANSWER), turns("Hi.", "Hello."))
    asked = [prompt(ASKED, 1), prompt(f"I lost my card; {RUN}?", 2), prompt("Where is it?", 3)]
    found = {leak.id: leak for leak in leaks(asked, folder)}
    assert found == {leak.id: leak for leak in leaks(asked[::-1], folder)} and len(found) == 2
