"""Near duplicates, near conflicts and leaks: what counts as near, which row goes, and what the page shows."""

import json
import subprocess
import sys
from typing import Any

import pytest
from dialogue_rows import dialogue
from pydantic import ValidationError

from kit.config.errors import DataError
from kit.config.layers import load_config
from kit.config.schema_data import Checks
from kit.data.near import NearIndex, similarity

ASKED = "How do I reset the passcode of my card in the app?"
NEARLY = "Hello, how do I reset the passcode of my card in the app"


def found(summary: dict[str, Any]) -> dict[str, int]:
    return {c["name"]: c["count"] for c in summary["checks"] if c["count"] and c["name"] != "length"}


def check_of(summary: dict[str, Any], name: str) -> dict[str, Any]:
    return next(check for check in summary["checks"] if check["name"] == name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ASKED, NEARLY),
        ("My top-up is still pending", "my top up is still pending."),
        ("Does it come with the battery and the charger?", "Does it come with the batery and the charger?"),
        ("I'm waiting for a rebate of 299 dollars", "I am waiting for a rebate of 299 dollars"),
        ("¿Eres amiga de Alexa?", "Eres amiga de Alexa"),
        ("我奶奶有高血压，能泡温泉吗？", "我奶奶有高血压能泡温泉吗"),
        (
            "Doctor: Any known drug allergies?\nPatient: No.",
            "Doctor: Any know drug allergies?\nPatient: No.",
        ),
    ],
)
def test_texts_that_say_the_same_are_near(one: str, other: str) -> None:
    assert similarity([one], [other], 0.8) == similarity([other], [one], 0.8) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "Where is my order AB-1234? It should be here by now.",
            "Where is my order CD-1234? It should be here by now.",
        ),
        (
            "Where is my order AB-1234? It should be here by now.",
            "Where is my order AB-9999? It should be here by now.",
        ),
        (
            "May I give my son 5 mg of it before he goes to bed?",
            "May I give my son 50 mg of it before he goes to bed?",
        ),
        (
            "May I give my son 5 mg of it before he goes to bed?",
            "May I give my son 5 ml of it before he goes to bed?",
        ),
        (
            "May I take ibuprofen together with my blood thinner?",
            "May I not take ibuprofen together with my blood thinner?",
        ),
        ("I really made this payment with my card", "I really didn't make this payment with my card"),
        (
            "What are the early symptoms of hypertension in adults?",
            "What are the early symptoms of hypotension in adults?",
        ),
        (
            "What research is being done for Chorea at the moment?",
            "What research is being done for Sydenham Chorea at the moment?",
        ),
        ("Do you have information about Vitamin E", "Do you have information about Vitamin K"),
        (
            "Transfer money from savings to checking, please",
            "Transfer money from checking to savings, please",
        ),
        ("What size are the tires on this big car?", "What size are the tiles on this big car?"),
        ("office-supplies", "Office Supplies"),
    ],
)
def test_a_number_a_name_a_negation_or_another_word_is_not_near(one: str, other: str) -> None:
    assert similarity([one], [other], 0.5) is similarity([other], [one], 0.5) is None


def test_of_a_page_one_word_may_be_another() -> None:
    page = " ".join(f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(100))
    assert similarity([page], [page.replace("wordcb", "other")], 0.8)


def test_another_question_about_the_same_page_is_not_near() -> None:
    page = " ".join(f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(300))

    def asks(question: str) -> list[str]:
        return [f"{page}\n\n{question}"]

    first = asks("What was the net income in 2019?")
    assert similarity(first, asks("What was the net income in 2019 ?"), 0.8)
    assert similarity(first, [f"{page}\nsaid\nWhat was the net income in 2019?\nThank you."], 0.8)
    for other in ("What was the gross profit in 2019?", "What was the average net income per share in 2019?"):
        assert similarity(first, asks(other), 0.8) is None
        assert similarity(asks(other), first, 0.8) is None


def test_the_index_finds_what_a_comparison_of_all_pairs_finds() -> None:
    """Beyond a handful of texts candidates come from MinHash LSH; none may be missed on these."""
    nouns = ("card", "loan", "fund", "account", "transfer", "mortgage", "deposit", "pension")
    verbs = ("cancel", "open", "close", "renew", "extend", "share", "freeze", "report")
    texts = [f"How do I {verb} the {noun} that I have with you?" for verb in verbs for noun in nouns]
    index: NearIndex[int] = NearIndex(0.8)
    for number, text in enumerate(texts):
        assert index.find([text]) is None
        index.add([text], number)
    for number, text in enumerate(texts):
        hit = index.find([f"Please {text.lower()}"])
        assert hit is not None
        assert hit[0] == number


def test_near_duplicates_are_reported_with_both_texts(project) -> None:
    rows = [dialogue(ASKED, "Choose Card, then Passcode."), dialogue(NEARLY, "Choose card, then passcode")]
    source = project.write("a.jsonl", rows)
    split = {"valid": 0, "test": 0}
    summary = project.check(source, split=split)
    assert found(summary) == {"near_duplicate": 1}
    assert summary["rows"]["kept"] == 2
    (example,) = check_of(summary, "near_duplicate")["examples"]
    assert example["where"] == "a.jsonl:2"
    assert example["pair"]["where"] == "a.jsonl:1"
    assert example["pair"]["texts"] == [
        f"user: {NEARLY}\nassistant: Choose card, then passcode",
        f"user: {ASKED}\nassistant: Choose Card, then Passcode.",
    ]
    assert 0.8 <= example["pair"]["similarity"] < 1
    looked = project.look(source, split=split, checks={"near_duplicate": "reject"})
    assert [(gone.where, gone.check) for gone in looked.rejected] == [("a.jsonl:2", "near_duplicate")]
    assert "the same as a.jsonl:1" in looked.rejected[0].reason
    off = project.check(source, split=split, checks={"near_duplicate": "off"})
    assert found(off) == {}
    assert check_of(off, "near_duplicate")["severity"] == "off"


def test_a_training_prompt_that_is_nearly_a_test_prompt_goes(project) -> None:
    rows = [
        dialogue(NEARLY, "Choose Passcode.", split="train"),
        dialogue(ASKED, "In the menu.", split="test"),
        dialogue("How do I freeze the card that was stolen?", "Choose Freeze.", split="train"),
    ]
    looked = project.look(project.write("a.jsonl", rows), split={"column": "split"})
    assert [(gone.where, gone.check) for gone in looked.rejected] == [("a.jsonl:1", "near_overlap")]
    assert "what test asks (a.jsonl:2)" in looked.rejected[0].reason
    pair = check_of(looked.summary, "near_overlap")["examples"][0]["pair"]
    assert pair["texts"] == [NEARLY, ASKED]
    assert looked.summary["rows"]["test"] == 1


def test_an_earlier_turn_that_is_nearly_a_test_prompt_goes(project) -> None:
    longer = dialogue(NEARLY, "Choose Passcode.", split="train")
    longer["messages"] += [{"role": "user", "content": "Thanks"}, {"role": "assistant", "content": "Gladly"}]
    rows = [longer, dialogue(ASKED, "In the menu.", split="test")]
    looked = project.look(project.write("a.jsonl", rows), split={"column": "split"})
    assert [gone.check for gone in looked.rejected] == ["near_overlap"]
    assert "an earlier turn of it is nearly" in looked.rejected[0].reason


def test_near_conflicts_are_reported_not_rejected(project) -> None:
    rows = [
        dialogue(ASKED, "Choose Card, then Passcode."),
        dialogue(NEARLY, "That can be done at a branch only."),
    ]
    summary = project.check(project.write("a.jsonl", rows), split={"valid": 0, "test": 0})
    assert found(summary) == {"near_conflict": 1}
    assert summary["rows"]["kept"] == 2
    assert "branch only" in check_of(summary, "near_conflict")["examples"][0]["pair"]["texts"][0]


@pytest.mark.parametrize(
    ("keep", "gone", "reason"),
    [
        ("first", [2, 3, 4], "the prompt of a.jsonl:1 differently"),
        ("majority", [1], "the prompt of a.jsonl:2 differently, 1 to 3"),
        ("none", [1, 2, 3, 4], "the prompt of a.jsonl:2 differently, and none is kept"),
    ],
)
def test_which_answer_to_nearly_one_question_stays(project, keep: str, gone: list[int], reason: str) -> None:
    rows = [
        dialogue(ASKED, "Choose Card, then Passcode."),
        dialogue(NEARLY, "That can be done at a branch only."),
        dialogue(f"Hi! {ASKED}", "That can be done at a branch only."),
        dialogue(f"Hi! {NEARLY}", "That can be done at a branch only!"),
    ]
    checks = {"near_conflict": "reject", "conflicts_keep": keep, "near_duplicate": "off"}
    looked = project.look(project.write("a.jsonl", rows), split={"valid": 0, "test": 0}, checks=checks)
    assert [rejection.where for rejection in looked.rejected] == [f"a.jsonl:{line}" for line in gone]
    assert all(rejection.check == "near_conflict" for rejection in looked.rejected)
    assert looked.rejected[0].reason.endswith(reason)


def test_equal_rows_are_told_by_the_exact_checks_alone(project) -> None:
    rows = [dialogue(ASKED, "Yes."), dialogue(ASKED, "Yes."), dialogue(ASKED, "No, only in a branch.")]
    reported = {"duplicates": "report", "conflicts": "report", "overlap": "report"}
    summary = project.check(project.write("a.jsonl", rows), checks=reported)
    assert found(summary) == {"duplicate": 1, "conflict": 1}


@pytest.mark.parametrize(("keep", "kept"), [("first", ["Yes."]), ("majority", ["No."]), ("none", [])])
def test_which_of_differing_answers_is_kept(project, keep: str, kept: list[str]) -> None:
    """The votes of equal rows count, though all but one of these are duplicates."""
    rows = [dialogue("Is it safe?", answer) for answer in ("Yes.", "No.", "no.", "Maybe.")]
    source = project.write("a.jsonl", [*rows, dialogue("What else?", "Nothing.")])
    looked = project.look(source, split={"valid": 0, "test": 0}, checks={"conflicts_keep": keep})
    gone = [g for g in looked.rejected if g.check == "conflict"]
    stayed = {"Yes.", "No.", "Maybe."} - {g.row["messages"][1]["content"] for g in gone}
    assert sorted(stayed) == kept
    assert all("answers the prompt of a.jsonl:" in g.reason for g in gone)
    if keep == "majority":
        assert gone[0].reason == "answers the prompt of a.jsonl:2 differently, 1 to 2"
    assert (
        looked.summary["rows"]["read"] == looked.summary["rows"]["kept"] + looked.summary["rows"]["rejected"]
    )


def test_rows_that_hold_a_benchmark_go_with_its_file_and_line(project) -> None:
    benchmark = [
        {
            "problem": "Something else altogether is asked for here.",
            "solution": {"steps": ["Nothing to do with it at all."]},
        },
        {"problem": ASKED, "solution": {"steps": ["Open the app and choose Card, then Passcode."]}},
    ]
    path = project.write("exams/exam.jsonl", benchmark)["path"]
    rows = [
        dialogue(NEARLY, "One.", split="train"),
        dialogue("Another question?", "open the app and choose card, then passcode", split="dev"),
        dialogue(ASKED, "Three.", split="test"),
        dialogue("Is it safe?", "Yes.", split="train"),
    ]
    source = project.write("a.jsonl", rows)
    looked = project.look(
        source, split={"column": "split"}, benchmarks=[path], checks={"near_overlap": "off"}
    )
    told = [(gone.where, gone.check, gone.reason) for gone in looked.rejected]
    assert [(where, check) for where, check, _ in told] == [
        ("a.jsonl:1", "benchmark"),
        ("a.jsonl:2", "benchmark"),
    ]
    assert told[0][2].startswith("a question of it nearly stands (0.")
    assert told[1][2] == "an answer of it stands in the benchmark exams/exam.jsonl:2"
    assert looked.summary["rows"]["test"] == 1  # nothing is learned from a test row
    reported = project.check(
        source,
        split={"column": "split"},
        benchmarks=[path],
        checks={"benchmark": "report", "near_overlap": "off"},
    )
    assert found(reported)["benchmark"] == 2
    assert reported["rows"]["kept"] == 4


def test_short_texts_of_a_benchmark_prove_nothing(project) -> None:
    path = project.write("exam.jsonl", [{"question": ASKED, "answer": "Yes."}])["path"]
    source = project.write("a.jsonl", [dialogue("Is it safe?", "Yes.")])
    assert found(project.check(source, benchmarks=[path])) == {}


def test_benchmarks_that_cannot_be_read_are_errors_all_at_once(project, dialogues) -> None:
    broken = project.write("broken.jsonl", b'{"a": "one two three four five"}\n{oops\n')["path"]
    source = project.write("a.jsonl", dialogues)
    with pytest.raises(DataError) as caught:
        project.check(source, benchmarks=[broken])
    assert [problem.where for problem in caught.value.problems] == ["broken.jsonl:2"]
    with pytest.raises(DataError) as caught:
        project.prepare({"path": "gone.jsonl"}, benchmarks=["nowhere.jsonl"])
    told = {problem.where: problem.hint for problem in caught.value.problems}
    assert told == {
        "nowhere.jsonl": "mend the path in data.benchmarks",
        "gone.jsonl": "mend the path, in data.sources or as it was given",
    }


def test_another_benchmark_is_another_prepared_set(project, dialogues) -> None:
    source = project.write("a.jsonl", dialogues)
    split = {"valid": 0.3, "test": 0.3}
    benchmark = project.write("exam.jsonl", [{"question": ASKED}])["path"]
    before = project.prepare(source, split=split, benchmarks=[benchmark])
    assert project.prepare(source, split=split, benchmarks=[benchmark]) == before
    project.write("exam.jsonl", [{"question": NEARLY}])
    after = project.prepare(source, split=split, benchmarks=[benchmark])
    assert after != before
    used = json.loads((after / "data.json").read_text())["benchmarks"]
    assert [(entry["name"], entry["texts"]) for entry in used] == [("exam.jsonl", 1)]


def test_the_page_shows_pairs_and_what_was_not_looked_for(project, dialogues) -> None:
    rows = [
        *dialogues,
        dialogue(ASKED, "Choose <Card>, then Passcode."),
        dialogue(NEARLY, "Choose <card>, then passcode"),
    ]
    source = project.write("a.jsonl", rows)
    checks = {"near_conflict": "off", "near_overlap": "off"}
    page = (
        project.prepare(source, split={"valid": 0.3, "test": 0.3}, checks=checks) / "data.html"
    ).read_text()
    assert "Choose &lt;card&gt;, then passcode" in page
    assert "Choose &lt;Card&gt;, then Passcode." in page
    assert "a.jsonl:61" in page and "a.jsonl:62" in page
    assert "near_overlap, near_conflict.</p>" in page


def test_the_same_pairs_come_out_of_any_process() -> None:
    """Sets of texts have another order in every process; the pairs must not."""
    code = (
        "from kit.data.near import NearIndex\n"
        "index = NearIndex(0.8)\n"
        "for n in range(300):\n"
        "    one, two = chr(97 + n % 26) * 4, chr(97 + n // 26) * 5\n"
        "    index.add([f'How do I renew the {one} card of {two} now?'], n)\n"
        "print([index.find([f'How do I renew the {c * 4} card of bbbbb now, ok?']) for c in 'abcdef'])\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1
    assert "26" in outputs.pop()


def test_similarity_has_bounds() -> None:
    """Below 0.75 the index would miss pairs in silence."""
    with pytest.raises(ValidationError):
        Checks(near_similarity=0.5)


def test_off_in_yaml_is_a_word_not_false(tmp_path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/project.yaml").write_text("data:\n  checks: {near_duplicate: off}\n")
    checks = load_config(tmp_path, ["data.checks.near_conflict=off"]).config.data.checks
    assert (checks.near_duplicate, checks.near_conflict, checks.near_overlap) == ("off", "off", "reject")
