"""The phrase grammar: what it refuses, and what its dialogues promise whoever trains on them."""

import textwrap
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from kit.config.errors import DataError
from kit.data.grammar import Grammar
from kit.data.grammar_load import load_grammar
from kit.data.synth import synthesize

RECIPES = Path(__file__).parents[2] / "recipes"
CASES = sorted(path.name for path in RECIPES.iterdir() if path.is_dir())

SMALL = """
languages: [en, fr]
mistakes: 0.3
multi_turn: 0.3
pools:
  letters: {values: [A, B, C, D, E]}
  digits: {numbers: {low: 100, high: 999}}
  order: {make: "{letters}{digits}", held_out: true}
  item:
    values:
      - {en: lamp, fr: lampe}
      - {en: chair, fr: chaise}
openings:
  en:
    - {user: "Hello?", assistant: "Yes, hello."}
frames:
  en:
    any: ["{question}", "Hi. {question}", "Hi, {question}"]
intents:
  where:
    topic: delivery
    weight: 3
    expected: {answerable: true, required: [["{order}"]]}
    questions:
      plain: ["where is the {item.en} of order {order}?", "is order {order} on its way?"]
      upset: ["order {order} is late, what a shame!"]
    answers:
      good: ["Order {order} takes three days."]
      general:
        any: ["Order {order} takes three days."]
        upset: ["It will be there tomorrow, I promise."]
  ou:
    topic: delivery
    language: fr
    expected: {answerable: true}
    questions:
      plain: ["où est la {item.fr} de la commande {order} ?"]
    answers:
      good: ["La commande {order} met trois jours."]
      general: ["Order {order} takes three days."]
"""


def write(folder: Path, text: str = SMALL) -> Path:
    path = folder / "dialogues.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


@pytest.fixture
def small(tmp_path: Path) -> Grammar:
    return load_grammar(write(tmp_path))


@pytest.fixture(scope="module", params=CASES)
def shipped(request: pytest.FixtureRequest) -> Grammar:
    return load_grammar(RECIPES / request.param / "dialogues.yaml")


def question(row: dict) -> str:
    return row["messages"][-2]["content"]


def answer(row: dict) -> str:
    return row["messages"][-1]["content"]


def entities(row: dict) -> set[str]:
    """The words of a question that can only come from a pool that is held out: those with digits."""
    words = question(row).split()
    return {word.strip(".,;:!?»'") for word in words if any(letter.isdigit() for letter in word)}


# --- what the dialogues promise ----------------------------------------------------------------------


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(small: Grammar) -> None:
    first = list(synthesize(small, 50, seed=1))
    assert first == list(synthesize(small, 50, seed=1))
    assert [question(row) for row in first] != [question(row) for row in synthesize(small, 50, seed=2)]


def test_a_row_does_not_depend_on_how_many_follow(shipped: Grammar) -> None:
    assert list(synthesize(shipped, 40, seed=3)) == list(islice(synthesize(shipped, 400, seed=3), 40))


def test_good_and_general_answers_meet_the_same_questions(shipped: Grammar) -> None:
    good = list(synthesize(shipped, 300, seed=4))
    general = list(synthesize(shipped, 300, seed=4, answers="general"))
    for row, other in zip(good, general, strict=True):
        assert row["messages"][:-1] == other["messages"][:-1]
        assert {k: v for k, v in row.items() if k != "messages"} == {
            k: v for k, v in other.items() if k != "messages"
        }
    assert sum(answer(a) != answer(b) for a, b in zip(good, general, strict=True)) > 150


def test_a_general_answer_depends_on_the_tone_of_the_question(small: Grammar) -> None:
    rows = [row for row in synthesize(small, 300, seed=5, answers="general") if row["language"] == "en"]
    assert {("promise" in answer(row)) for row in rows if row["tone"] == "upset"} == {True}
    assert {("promise" in answer(row)) for row in rows if row["tone"] == "plain"} == {False}


def test_rows_are_divided_about_eighty_ten_ten(shipped: Grammar) -> None:
    counts = Counter(row["split"] for row in synthesize(shipped, 2000, seed=6))
    assert 1500 < counts["train"] < 1700
    assert 130 < counts["valid"] < 270
    assert 130 < counts["test"] < 270


def test_a_group_never_straddles_splits_whatever_the_seed(shipped: Grammar) -> None:
    splits: dict[str, set[str]] = {}
    for seed in (7, 8, 9):
        for row in synthesize(shipped, 1500, seed=seed):
            splits.setdefault(row["group"], set()).add(row["split"])
    assert len(splits) > 500
    assert all(len(found) == 1 for found in splits.values())


def test_numbers_of_held_out_entities_never_stand_in_train(small: Grammar) -> None:
    seen: dict[str, set[str]] = {"train": set(), "valid": set(), "test": set()}
    for row in synthesize(small, 2000, seed=10):
        seen[row["split"]] |= entities(row)
    assert len(seen["test"]) > 100
    assert not seen["test"] & seen["train"]
    assert not seen["valid"] & seen["train"]
    assert not seen["test"] & seen["valid"]


def test_every_question_is_asked_once(shipped: Grammar) -> None:
    prompts = [
        tuple(message["content"].casefold() for message in row["messages"][:-1])
        for row in synthesize(shipped, 3000, seed=11)
    ]
    assert len(set(prompts)) == len(prompts)


@pytest.mark.parametrize("case", ["finance", "medical", "ecommerce"])
def test_the_recipes_have_tens_of_thousands_of_different_dialogues(case: str) -> None:
    """Measured on pairs of seeds, whose rows know nothing of each other: repeats stay rare."""
    grammar = load_grammar(RECIPES / case / "dialogues.yaml")
    first = {question(row) for row in synthesize(grammar, 5000, seed=12)}
    second = {question(row) for row in synthesize(grammar, 5000, seed=13)}
    repeated = len(first & second)
    # With N equally likely questions, about 5000 * 5000 / N of them would be met again.
    assert repeated < 5000 * 5000 / 50_000


def test_more_dialogues_than_the_grammar_has_is_an_error(tmp_path: Path) -> None:
    text = SMALL.replace("mistakes: 0.3", "mistakes: 0").replace("high: 999", "high: 130")
    grammar = load_grammar(write(tmp_path, text))
    with pytest.raises(DataError, match="no new question"):
        list(synthesize(grammar, 20_000, seed=1))


def test_languages_are_evenly_shared_and_can_be_chosen(small: Grammar) -> None:
    both = Counter(row["language"] for row in synthesize(small, 400, seed=14))
    assert 150 < both["fr"] < 250
    only = {row["language"] for row in synthesize(small, 50, seed=14, languages=["fr"])}
    assert only == {"fr"}
    with pytest.raises(DataError, match=r"`de`.*\n.*en, fr"):
        list(synthesize(small, 1, seed=14, languages=["de"]))


def test_facts_in_expected_are_those_of_the_question_and_the_answer(small: Grammar) -> None:
    for row in synthesize(small, 200, seed=15, languages=["en"]):
        [[order]] = row["required"]
        assert order in question(row)
        assert order in answer(row)


def test_a_mistake_changes_the_words_but_never_an_entity(tmp_path: Path) -> None:
    def asked(mistakes: str) -> list[str]:
        grammar = load_grammar(write(tmp_path, SMALL.replace("mistakes: 0.3", f"mistakes: {mistakes}")))
        rows = list(synthesize(grammar, 300, seed=16, languages=["en"]))
        assert all(row["required"][0][0] in question(row) for row in rows)
        return [question(row).replace(row["required"][0][0], "X") for row in rows]

    correct = set(asked("0"))
    assert len(correct) < 30
    mistyped = [text for text in asked("1") if text not in correct]
    assert len(mistyped) > 250


def test_sentences_begin_with_a_capital_unless_mistyped(tmp_path: Path) -> None:
    grammar = load_grammar(write(tmp_path, SMALL.replace("mistakes: 0.3", "mistakes: 0")))
    starts = {question(row).split(" order")[0] for row in synthesize(grammar, 300, seed=17, languages=["en"])}
    assert "Hi. Is" in starts and "Hi, is" in starts and "Is" in starts
    assert "is" not in starts and "Hi. is" not in starts


def test_openings_make_some_dialogues_longer(small: Grammar) -> None:
    lengths = Counter(len(row["messages"]) for row in synthesize(small, 400, seed=18, languages=["en"]))
    assert set(lengths) == {2, 4}
    assert 60 < lengths[4] < 180


def test_ten_times_the_rows_take_about_ten_times_the_time(shipped: Grammar) -> None:
    """By the least of several turns, so that a busy machine does not decide."""

    def least(rows: int) -> float:
        turns = []
        for _ in range(5):
            start = time.process_time()
            list(synthesize(shipped, rows, seed=19))
            turns.append(time.process_time() - start)
        return min(turns)

    assert least(1000) < 40 * least(100)


# --- what the loader refuses --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("order {order} is late", "order {ordr} is late", "unknown pool `ordr`.*did you mean `order`"),
        ("of order {order}?", "of {item.de} {order}?", r"no value for \{item.de\}.*\{item.en\}, \{item.fr\}"),
        ("is order {order} on its way?", "is it on its way?", "nothing that is held out"),
        ("    weight: 3", "    wieght: 3", "unknown key `intents.where.wieght`"),
        ("language: fr", "language: it", "unknown language `it`"),
        ('upset: ["It will', 'angry: ["It will', "no question has the tone `angry`"),
        ('    any: ["{question}", "Hi.', '    any: ["Hello", "Hi.', "a frame without {question}"),
        ("high: 999", "high: 105", "held out but has only 30 values"),
        ("  letters: {values", "  spare: {values: [x]}\n  letters: {values", "`spare` is used nowhere"),
        ("[A, B, C, D, E]", "[]", "needs exactly one of values, numbers and make"),
        ('make: "{letters}{digits}"', 'make: "{order}{digits}"', "made from itself"),
        ("- {en: chair, fr: chaise}", "- {en: chair}", "different fields"),
        ('required: [["{order}"]]', 'required: [["{digits}"]]', "no question or good answer"),
        (
            'Order {order} takes three days."]\n      general:',
            'Order {order takes."]\n      general:',
            "brace",
        ),
        ("topic: delivery\n    weight", "weight", "`intents.where.topic` is missing"),
    ],
)
def test_a_broken_grammar_is_refused_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SMALL
    path = write(tmp_path, SMALL.replace(old, new, 1))
    with pytest.raises(DataError) as caught:
        load_grammar(path)
    text = str(caught.value)
    assert _search(message, text), text
    for problem in caught.value.problems:
        file, line = problem.where.rsplit(":", 1)
        assert file == str(path)
        assert int(line) > 1


def test_the_line_of_a_problem_is_the_line_it_stands_on(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL.replace("is late", "is {late}"))
    with pytest.raises(DataError) as caught:
        load_grammar(path)
    line = int(caught.value.problems[0].where.rsplit(":", 1)[1])
    assert "is {late}" in path.read_text(encoding="utf-8").splitlines()[line - 1]


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = SMALL.replace("is late", "is {late}").replace("trois jours", "{trois} jours")
    with pytest.raises(DataError) as caught:
        load_grammar(write(tmp_path, text))
    assert len(caught.value.problems) == 2


def _search(pattern: str, text: str) -> bool:
    import re

    return re.search(pattern.replace("{question}", r"\{question\}"), text, re.DOTALL) is not None


def test_the_example_of_the_how_to_page_works(tmp_path: Path) -> None:
    page = (RECIPES.parent / "docs/how-to/write-a-grammar.md").read_text(encoding="utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    rows = list(synthesize(load_grammar(write(tmp_path, example)), 20, seed=1))
    assert all(row["slots"][0] in question(row) for row in rows)
