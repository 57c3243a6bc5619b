"""The nearest training example: one search, whose result the items keep and the baseline copies."""

from training_rows import prepared, prompt, turns

from kit.config.schema import Config
from kit.data.near import pieces
from kit.evaluate.alike import most_alike
from kit.evaluate.baselines import NEAREST, trivial
from kit.evaluate.nearest import SHOWN, nearest_example
from kit.evaluate.training import look_through

CARD = "What does a gold card cost a year?"
SAVINGS = "Can I lose the money in my savings account?"
CALL = "May I call you on 555-867-5309 about the loan?"


def find(folder, *asked):
    prompts = [prompt(text, number) for number, text in enumerate(asked)]
    return most_alike(prompts, look_through(prompts, folder, set()), 0.8)


def training(tmp_path):
    return prepared(
        tmp_path,
        turns(SAVINGS, "Savings are covered up to 100,000 euros."),
        turns(CARD, "It costs 60 euros a year."),
        turns(CALL, "Yes, an adviser rings you back."),
    )


def test_the_row_whose_question_is_most_alike_is_named_with_its_line(tmp_path):
    same, like = map(
        nearest_example, find(training(tmp_path), CARD, "Could I lose money on my savings account?")
    )
    assert (same["where"], same["similarity"]) == ("train.jsonl:2", 1)
    assert (same["prompt"], same["answer"]) == (CARD, "It costs 60 euros a year.")
    one, other = pieces("Could I lose money on my savings account?"), pieces(SAVINGS)
    assert like["where"] == "train.jsonl:1" and like["similarity"] == len(one & other) / len(one | other)


def test_it_is_the_example_that_the_baseline_copies(tmp_path):
    asked = [prompt("Could I lose money on my savings account?"), prompt("Is a gold card dear?", 1)]
    known = look_through(asked, training(tmp_path), set())
    alike = most_alike(asked, known, 0.8)
    copied = trivial(Config(), [], asked, known, alike).answers(NEAREST, None)
    assert [nearest_example(like)["answer"] for like in alike] == copied


def test_personal_data_of_a_training_row_is_not_shown(tmp_path):
    (found,) = map(nearest_example, find(training(tmp_path), "May I call you about the loan?"))
    assert found["where"] == "train.jsonl:3" and "867" not in found["prompt"]


def test_what_is_not_alike_at_all_is_no_example(tmp_path):
    (found,) = map(nearest_example, find(training(tmp_path), "保本保收益"))
    assert found is None


def test_long_texts_are_cut(tmp_path):
    long = "Where is it? " * 200
    (found,) = map(nearest_example, find(prepared(tmp_path, turns(long, long)), long))
    assert len(found["answer"]) == SHOWN + 1 and found["answer"].endswith("…")
