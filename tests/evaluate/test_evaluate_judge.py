"""The judge over saved answers and a stub endpoint: what is asked and what is counted."""

import json
import shutil

import pytest
from judge_samples import (
    RUBRIC,
    SETTINGS,
    answers,
    by_word,
    prompts,
    run,
    settings,
    ten,
)
from judge_stub import Says, endpoint, judged_answer, verdict

from kit.config.errors import ConfigError, DataError
from kit.config.schema_judge import Judge
from kit.evaluate.endpoint import EndpointError
from kit.evaluate.evaluate import evaluate
from kit.evaluate.judge import MissingRepliesError, judge_answers, ready_judge
from kit.evaluate.judge_scores import judge_scores, verdict_items
from kit.evaluate.predictions import read_lines
from kit.hooks import Hooks


def test_verdicts_are_counted_compared_and_sliced(tmp_path):
    stub, judged, scores = ten(tmp_path, pairwise=False)
    assert len(stub.asked) == 15, "the same answer to the same prompt is asked about once"
    assert scores["verdicts"]["base"] == {
        "n": 10,
        "invalid": 0,
        "counts": {"complies": 4, "violates": 6, "unparsable": 0},
        "repeated": 0,
        "changed": 0,
    }
    metric = scores["metric"]
    assert (metric["base"]["estimate"], metric["tuned"]["estimate"]) == (0.6, 0.1)
    assert metric["reduction"]["estimate"] == pytest.approx(1 - 1 / 6)
    assert {(part["column"], part["value"], part["n"]) for part in metric["slices"]} == {
        ("topic", "cards", 5),
        ("topic", "funds", 5),
    }
    assert verdict_items(judged)[1] == {"base": "violates", "tuned": "complies"}
    assert scores["pairwise"] is None and scores["grades"] is None


def test_both_orders_are_asked_and_a_preference_that_moves_with_them_is_a_tie(tmp_path):
    def always_first(content, number):
        return verdict("first") if "You compare" in content else by_word(content, number)

    _, judged, scores = ten(tmp_path)
    fair = scores["pairwise"]
    assert (fair["n"], fair["asked"], fair["tuned"], fair["base"], fair["tie"]) == (10, 5, 5, 0, 5)
    assert fair["changed_with_order"] == 0 and fair["first_preferred"] == fair["second_preferred"] == 5
    assert fair["compared"]["difference"]["estimate"] == 0.5
    assert verdict_items(judged)[1]["pairwise"] == "tuned" and verdict_items(judged)[0]["pairwise"] == "tie"

    other = tmp_path / "other"
    stub, _, scores = ten(other, always_first)
    biased = scores["pairwise"]
    assert (biased["changed_with_order"], biased["tuned"], biased["base"]) == (5, 0, 0)
    assert (biased["first_preferred"], biased["second_preferred"]) == (10, 0)
    assert biased["compared"]["verdict"] == "not shown"
    pairs = [content for content in stub.contents if "You compare" in content]
    shown = {tuple(judged_answer(pair, f"{which} answer") for which in ("first", "second")) for pair in pairs}
    assert len(shown) == 10 and all((second, first) in shown for first, second in shown)


def test_a_second_run_asks_nothing_and_another_rubric_asks_anew(tmp_path):
    first = ten(tmp_path)[2]

    def nobody(content, number):
        raise AssertionError("asked again")

    stub, _, again = ten(tmp_path, nobody)
    assert stub.asked == []
    assert {**again, "where": ""} == {**first, "where": ""}, "another port is the same judge"
    stub, _, _ = ten(tmp_path, rubric={**RUBRIC, "question": "Is it rude?"})
    assert len(stub.asked) == 25
    stub, _, _ = ten(tmp_path, model="other")
    assert len(stub.asked) == 25


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    def fails_at_the_ninth(content, number):
        return by_word(content, number) if number < 9 else Says("gone", 404)

    with pytest.raises(EndpointError, match="status 404"):
        ten(tmp_path, fails_at_the_ninth, num_concurrent=3)
    kept = read_lines(tmp_path / "judge.jsonl")
    assert len(kept) == 8, "what was answered is kept, also what was on its way when another failed"
    path = tmp_path / "judge.jsonl"
    path.write_text(path.read_text()[:-20])  # and a power cut in the middle of a line
    stub, _, scores = ten(tmp_path)
    assert len(stub.asked) == 25 - 7
    assert scores == {**ten(tmp_path / "whole")[2], "where": scores["where"]}


def test_replies_that_cannot_be_read_are_a_class_of_their_own(tmp_path):
    def answer(content, number):
        if "number 0" in content:
            return Says("I'm sorry, but I cannot judge this.")
        if "number 1" in content:
            return Says('{"reason": "cut off')
        return by_word(content, number)

    _, judged, scores = ten(tmp_path, answer)
    assert scores["verdicts"]["base"]["counts"] == {"complies": 4, "violates": 4, "unparsable": 2}
    assert scores["metric"]["n"] == 8, "nothing is guessed for them"
    assert verdict_items(judged)[0] == {"base": "unparsable", "tuned": "unparsable", "pairwise": "tie"}
    assert scores["pairwise"]["unparsable"] == 1
    problems = {line["problem"] for line in read_lines(tmp_path / "judge.jsonl")}
    assert problems == {"", "states no verdict, or more than one"}


def test_an_invalid_answer_is_not_asked_about_and_is_a_fault(tmp_path):
    asked = prompts(8)
    predictions = answers(asked, ["We do."] * 8, [""] * 8)
    with endpoint(by_word) as stub:
        _, scores = run(settings(stub.base_url), asked, predictions, tmp_path)
    assert len(stub.asked) == 8
    assert scores["verdicts"]["tuned"] == {
        "n": 8,
        "invalid": 8,
        "counts": {"complies": 0, "violates": 0, "unparsable": 0},
        "repeated": 0,
        "changed": 0,
    }
    assert scores["metric"]["tuned"]["estimate"] == 1.0
    assert (scores["pairwise"]["base"], scores["pairwise"]["asked"]) == (8, 0)


def test_grades_have_a_mean_beside_their_faults(tmp_path):
    asked = prompts(8)
    predictions = answers(asked, ["Dull."] * 8, ["Bright."] * 8)

    def answer(content, number):
        return verdict(2 if judged_answer(content) == "Dull." else 5)

    rubric = {"question": "How clear is it?", "scale": [1, 5], "good_from": 4}
    with endpoint(answer) as stub:
        _, scores = run(settings(stub.base_url, rubric=rubric, pairwise=False), asked, predictions, tmp_path)
    assert (scores["grades"]["base"]["estimate"], scores["grades"]["tuned"]["estimate"]) == (2.0, 5.0)
    assert (scores["metric"]["base"]["estimate"], scores["metric"]["tuned"]["estimate"]) == (1.0, 0.0)


def test_a_judge_that_changes_its_mind_is_told(tmp_path):
    """Asked three times about each answer; of one it says something else at times."""

    def answer(content, number):
        if "number 3" in content and judged_answer(content).startswith("We"):
            return verdict(["violates", "complies"][number % 2])
        return by_word(content, number)

    stub, judged, scores = ten(tmp_path, answer, pairwise=False, runs=3, num_concurrent=1)
    assert len(stub.asked) == 15 * 3
    assert (scores["verdicts"]["base"]["repeated"], scores["verdicts"]["base"]["changed"]) == (10, 1)
    assert (scores["verdicts"]["tuned"]["repeated"], scores["verdicts"]["tuned"]["changed"]) == (10, 0)
    once = ten(tmp_path, pairwise=False)
    assert once[0].asked == [] and once[1].verdicts == judged.verdicts, "the first verdict counts"
    assert once[2]["verdicts"]["base"]["repeated"] == 0


def test_tags_in_a_reply_go_nowhere(tmp_path):
    tags = "<script>alert(1)</script>"
    _, judged, scores = ten(tmp_path, lambda *_: verdict("violates", reason=tags), pairwise=False)
    assert scores["verdicts"]["base"]["counts"]["violates"] == 10
    assert "<script>" not in json.dumps([scores, verdict_items(judged)])


def test_a_judge_on_this_machine(tmp_path, model, tokenizer):
    model.save_pretrained(tmp_path / "judge")
    tokenizer.save_pretrained(tmp_path / "judge")
    asked = prompts(2)
    config = settings(None, model=str(tmp_path / "judge"), request={"max_tokens": 4})
    _, scores = run(config, asked, answers(asked, ["Yes."] * 2, ["No."] * 2), tmp_path)
    assert scores["where"] == "this machine"
    assert scores["verdicts"]["base"]["counts"]["unparsable"] == 2, "so small a model says nothing"
    assert len(read_lines(tmp_path / "judge.jsonl")) == 4 + 4

    shutil.rmtree(tmp_path / "judge")
    saved = ready_judge(config, tmp_path, ask=False)
    given = answers(asked, ["Yes."] * 2, ["No."] * 2)
    judged = judge_answers(saved, config, asked, given, tmp_path)
    assert judge_scores(judged, asked, SETTINGS) == scores, "saved replies need no weights"
    with pytest.raises(MissingRepliesError) as missing:
        judge_answers(saved, config, asked, answers(asked, ["Yes."] * 2, ["Maybe."] * 2), tmp_path)
    assert len(missing.value.problems) == 2 + 4
    (tmp_path / "judge.json").unlink()
    with pytest.raises(DataError, match="does not say which weights gave the judge's replies"):
        judge_answers(saved, config, asked, given, tmp_path)


# From files to files


def with_judge(config, **changes):
    judge = Judge.model_validate({"model": "m", "rubric": RUBRIC, "retries": 0, **changes})
    return config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"judge": judge})})


@pytest.mark.slow
def test_a_judge_is_asked_about_answers_that_are_there_and_only_once(project, monkeypatch):
    config, root, prepared, run = project
    folder = evaluate(config, root, prepared, run, Hooks())
    lines = read_lines(folder / "predictions.jsonl")  # so small a model's answers are all cut
    for line in lines[::3]:
        line.update(output=f"No answer of {line['system']}", finished=True)
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr("kit.models.loading.load_model", None)  # no model is needed
    with endpoint(by_word) as stub:
        judged = with_judge(config, base_url=stub.base_url)
        assert evaluate(judged, root, prepared, run, Hooks()) == folder
        asked = len(stub.asked)
        scores = json.loads((folder / "scores.json").read_text())
        assert evaluate(judged, root, prepared, run, Hooks()) == folder and len(stub.asked) == asked > 0
    judge = scores["judge"]
    assert judge["calibration"]["status"] == "not calibrated" and judge["corrected"]["entry"] is None
    valid = [item["greedy"][s]["invalid"] is None for item in scores["items"] for s in ("base", "tuned")]
    assert [item["judge"][s] is not None for item in scores["items"] for s in ("base", "tuned")] == valid
    counts = [judge["verdicts"][s]["counts"] for s in ("base", "tuned")]
    assert sum(count["complies"] for count in counts) == sum(valid) == 16
    assert {entry["name"] for entry in scores["metrics"]} == {"violation_rate", "disclosure_rate"}
    assert evaluate(config, root, prepared, run, Hooks()) == folder, "the answers are the same"
    assert json.loads((folder / "scores.json").read_text())["judge"] is None


def test_a_judge_without_its_key_is_told_before_any_work(project, monkeypatch):
    config, root, prepared, run = project
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    monkeypatch.setattr("kit.models.loading.load_model", None)
    judged = with_judge(config, base_url="http://127.0.0.1:9/v1", api_key_env="JUDGE_KEY")
    with pytest.raises(ConfigError, match="the environment variable JUDGE_KEY is not set"):
        evaluate(judged, root, prepared, run, Hooks())
    assert not (root / "evaluations").exists()
