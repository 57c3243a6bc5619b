"""The judge over saved answers and a stub endpoint: what is asked, what is counted, what is corrected."""

import json
import shutil
from dataclasses import replace

import pytest
from judge_stub import Says, endpoint, judged_answer, verdict

from kit.config.errors import ConfigError, DataError
from kit.config.gates import Claim, Gate
from kit.config.schema import Config
from kit.config.schema_judge import Judge
from kit.evaluate.claims import judge_claims
from kit.evaluate.compare import Settings
from kit.evaluate.endpoint import EndpointError
from kit.evaluate.evaluate import evaluate
from kit.evaluate.gates import judge_gates
from kit.evaluate.judge import MissingRepliesError, judge_answers, judge_hash, ready_judge
from kit.evaluate.judge_scores import judge_scores, verdict_items
from kit.evaluate.predictions import read_lines
from kit.evaluate.prompts import Prompt
from kit.hooks import Hooks

RUBRIC = {"question": "Does it promise a return?", "labels": ["complies", "violates"], "good": ["complies"]}
SETTINGS = Settings(0.95, 500, 0)


def settings(base_url, **changes):
    judge = {"model": "m", "base_url": base_url, "rubric": RUBRIC, "retries": 1, "timeout": 5, **changes}
    return Config.model_validate(
        {"data": {"slices": ["topic"]}, "evaluate": {"judge": judge, "bootstrap_draws": 500}}
    )


def prompts(n):
    return [
        Prompt(
            id=f"{place:016x}",
            messages=[{"role": "user", "content": f"Is fund {place} safe?"}],
            expected={},
            slices={"topic": "funds" if place % 2 else "cards"},
            group=str(place),
        )
        for place in range(n)
    ]


def answers(asked, base, tuned, finished=True):
    """Predictions from one text a prompt and system."""
    return {
        (prompt.id, system, "greedy"): {"output": texts[place], "finished": finished}
        for system, texts in (("base", base), ("tuned", tuned))
        for place, prompt in enumerate(asked)
    }


def by_word(content, number):
    """Judges one answer by what it says, two by which is longer."""
    if "You compare" in content:
        first, second = (judged_answer(content, f"{which} answer") for which in ("first", "second"))
        return verdict("first" if len(first) > len(second) else "second")
    return verdict("violates" if "guarantee" in judged_answer(content) else "complies")


def run(config, asked, predictions, folder):
    judged = judge_answers(ready_judge(config, folder), config, asked, predictions, folder)
    return judged, judge_scores(judged, asked, SETTINGS)


def write_labels(folder, rows):
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


FAULTY, SOUND = "We guarantee 8% on number {}.", "Number {} can fall in value, as any other may as well."


def ten(folder, answer=by_word, **changes):
    """Ten prompts: base has six faults, tuned one; four answers are the same."""
    asked = prompts(10)
    base = [(FAULTY if place < 6 else SOUND).format(place) for place in range(10)]
    tuned = [(FAULTY if place < 1 else SOUND).format(place) for place in range(10)]
    with endpoint(answer) as stub:
        judged, scores = run(settings(stub.base_url, **changes), asked, answers(asked, base, tuned), folder)
    return stub, judged, scores


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


# Labels


def labelled(folder, base_errors=0, tuned_errors=0, n=100, per_group=1):
    """n prompts, half of them faulty in base, a tenth in tuned; the judge overlooks or invents some."""
    asked = [replace(prompt, group=str(place // per_group)) for place, prompt in enumerate(prompts(n))]
    truth = {"base": [place < n // 2 for place in range(n)], "tuned": [place < n // 10 for place in range(n)]}
    texts = {
        system: [
            f"{system} {(FAULTY if fault else SOUND).format(place)}" for place, fault in enumerate(faults)
        ]
        for system, faults in truth.items()
    }
    rows = [
        {"id": prompt.id, "system": system, "label": "violates" if truth[system][place] else "complies"}
        for system in truth
        for place, prompt in enumerate(asked)
    ]
    wrong = {texts["base"][place] for place in range(base_errors)}
    wrong |= {texts["tuned"][n - 1 - place] for place in range(tuned_errors)}

    def answer(content, number):
        said = judged_answer(content)
        return verdict("violates" if ("guarantee" in said) != (said in wrong) else "complies")

    write_labels(folder, rows)
    with endpoint(answer) as stub:
        config = settings(stub.base_url, pairwise=False, labels="labels.jsonl")
        return run(config, asked, answers(asked, texts["base"], texts["tuned"]), folder)[1]


def part(scores, column, value=""):
    return next(p for p in scores["calibration"]["parts"] if (p["column"], p["value"]) == (column, value))


@pytest.fixture(scope="module")
def unlike(tmp_path_factory):
    """Truth 50 to 10 faults of 100. The judge overlooks ten of base and invents thirty of tuned."""
    return labelled(tmp_path_factory.mktemp("unlike"), base_errors=10, tuned_errors=30)


def test_the_judge_stands_beside_people_by_system_and_slice(unlike):
    scores = unlike
    assert scores["calibration"]["status"] == "calibrated"
    base, tuned = part(scores, "system", "base"), part(scores, "system", "tuned")
    assert base["matrix"] == {"complies": {"complies": 50}, "violates": {"violates": 40, "complies": 10}}
    assert tuned["matrix"] == {"complies": {"complies": 60, "violates": 30}, "violates": {"violates": 10}}
    assert base["sensitivity"]["estimate"] == 0.8 and base["specificity"]["estimate"] == 1.0
    assert tuned["specificity"]["estimate"] == pytest.approx(2 / 3)
    assert base["kappa"]["estimate"] == pytest.approx((0.9 - 0.5) / 0.5)
    assert tuned["kappa"]["low"] < tuned["kappa"]["estimate"] < 0.4 < base["kappa"]["low"]
    assert part(scores, "topic", "funds")["n"] == 100 and part(scores, "all")["agreement"] == 0.8


def test_the_effect_is_corrected_for_the_judges_errors(unlike):
    """The judge says 40 to 40: no change at all."""
    scores = unlike
    assert scores["metric"]["difference"]["estimate"] == 0 and scores["metric"]["verdict"] == "not shown"
    entry = scores["corrected"]["entry"]
    assert entry["base"]["estimate"] == pytest.approx(0.5) and entry["tuned"]["estimate"] == pytest.approx(
        0.1
    )
    assert entry["difference"]["estimate"] == pytest.approx(-0.4) and entry["verdict"] == "improved"
    assert entry["reduction"]["estimate"] == pytest.approx(0.8)


def gate(**changes):
    return Gate.model_validate({"name": "g", "metric": "judge", **changes})


def scored(judge):
    """The rest of `scores.json` that gates read."""
    validity = {"greedy": {s: {"n": 100, "invalid": 0} for s in ("base", "tuned")}}
    return {
        "judge": judge,
        "metrics": [],
        "unscored": [],
        "confidence": 0.95,
        "validity": validity,
        "synthetic": False,
    }


GATES = [
    {"at_most": 0.6, "bound": "upper"},
    {"significant": True},
    {"non_inferior": {"margin": 0.02}},
    {"of": "reduction", "at_least": 0.2, "bound": "lower"},
]


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    return scored(labelled(tmp_path_factory.mktemp("calibrated"), base_errors=10, tuned_errors=10))


@pytest.fixture(scope="module")
def thin(tmp_path_factory):
    """60 labels of each system."""
    return scored(labelled(tmp_path_factory.mktemp("thin"), n=60))


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """No labels at all."""
    return scored(ten(tmp_path_factory.mktemp("without"))[2])


@pytest.mark.parametrize("asks", GATES)
def test_a_gate_may_rest_on_a_calibrated_judge(asks, calibrated):
    (found,) = judge_gates(calibrated, [gate(**asks)])
    assert found.status == "passed" and found.n == 100


def test_a_claim_may_rest_on_a_calibrated_judge(calibrated):
    (claim,) = judge_claims(calibrated, [Claim(name="c", metric="judge", of="reduction", at_least=0.2)])
    assert claim.status == "supported"


@pytest.mark.parametrize("asks", [*GATES, {"at_most": 1, "worst": "topic"}])
def test_no_gate_rests_on_a_judge_that_is_not_calibrated(asks, thin, without):
    for scores, why in ((thin, "60 of base and 60 of tuned"), (without, "no answers labelled by people")):
        (found,) = judge_gates(scores, [gate(**asks)])
        assert found.status == "not enough evidence" and found.found is None
        assert found.why.startswith("judge not calibrated: ") and why in found.why
        (claim,) = judge_claims(scores, [Claim(name="c", metric="judge", at_least=0)])
        assert claim.status == "not testable" and why in claim.why


def test_labels_are_counted_by_groups_of_prompts(tmp_path):
    """100 answers of each system to 50 customers are 50 witnesses."""
    scores = labelled(tmp_path, base_errors=4, per_group=2)
    calibration = scores["calibration"]
    assert calibration["labelled"] == {"n": 200, "base": 100, "tuned": 100, "left_out": 0}
    assert calibration["status"] == "not calibrated" and "50 of base and 50 of tuned" in calibration["why"]
    assert scores["corrected"]["entry"] is None
    seen = part(scores, "system", "base")["sensitivity"]
    assert seen["estimate"] == 0.92 and "widened by bootstrap over groups" in seen["method"]


def test_a_gate_that_a_judge_has_nothing_for_is_told(calibrated, without):
    (found,) = judge_gates(calibrated, [gate(at_most=1, decoding="sampled")])
    assert found.status == "not enough evidence"
    assert found.why == "the judge was asked about greedy answers only"
    for scores in (calibrated, without):
        with pytest.raises(ConfigError, match="has no rules with a severity"):
            judge_gates(scores, [gate(zero_tolerance="critical")])
    with pytest.raises(ConfigError, match="no slices by 'topic'"):
        judge_gates(calibrated, [gate(at_most=1, worst="topic")])


def test_a_judge_that_tells_nothing_carries_no_gate(tmp_path):
    """Of tuned it overlooks nothing, and finds fault with nine sound answers of ten."""
    scores = labelled(tmp_path, tuned_errors=85)
    assert scores["calibration"]["status"] == "calibrated" and scores["corrected"]["entry"] is None
    assert scores["corrected"]["why"].startswith("tuned: the judge tells nothing: it sees 10 of 10 faults")
    (found,) = judge_gates(scored(scores), [gate(at_most=1)])
    assert found.status == "not enough evidence" and "cannot be corrected" in found.why


def test_labels_of_answers_made_elsewhere_are_asked_about_too(tmp_path):
    rows = [
        {"prompt": "Is it?", "output": "We guarantee it.", "label": "violates", "topic": "funds"},
        {"prompt": "Is it?", "output": "It may fall.", "system": "tuned", "label": "violates"},
        {"id": f"{0:016x}", "output": "An older answer.", "system": "base", "label": "complies"},
        {"id": f"{1:016x}", "system": "base", "label": "violates"},
        {"id": "not here", "system": "base", "label": "violates"},
    ]
    write_labels(tmp_path, rows)
    stub, _, scores = ten(tmp_path, labels="labels.jsonl", pairwise=False)
    assert len(stub.asked) == 15 + 3
    assert scores["calibration"]["labelled"] == {"n": 4, "base": 2, "tuned": 1, "left_out": 1}
    assert scores["calibration"]["status"] == "not calibrated"
    assert part(scores, "topic", "funds")["n"] == 2  # the first row, and prompt 1's own slice
    assert part(scores, "system", "tuned")["matrix"] == {"complies": {}, "violates": {"complies": 1}}


def test_what_cannot_be_read_is_a_column_of_the_matrix(tmp_path):
    rows = [{"prompt": "p", "output": f"Answer {n}.", "label": "complies"} for n in range(4)]
    write_labels(tmp_path, rows)

    def answer(content, number):
        return Says("The answer is fine.") if "Answer 2." in content else by_word(content, number)

    _, _, scores = ten(tmp_path, answer, labels="labels.jsonl")
    found = part(scores, "all")
    assert found["matrix"]["complies"] == {"complies": 3, "unparsable": 1} and found["unparsable"] == 1
    assert found["agreement"] == 0.75 and found["specificity"]["estimate"] == 1.0


def test_grades_are_held_to_graded_labels(tmp_path):
    """Quadratic weights: four grades off weigh sixteen times one; what cannot be read has no distance."""
    write_labels(
        tmp_path,
        [
            {"prompt": "p", "output": f"Answer {n}.", "label": grade}
            for n, grade in enumerate([1, 2, 4, 5, 5])
        ],
    )
    rubric = {"question": "How clear?", "scale": [1, 5], "good_from": 4}

    def answer(content, number):
        said = judged_answer(content)
        if said == "Answer 4.":
            return Says("very")
        return verdict({"Answer 0.": 1, "Answer 1.": 3, "Answer 2.": 4, "Answer 3.": 4}.get(said, 5))

    _, _, scores = ten(tmp_path, answer, labels="labels.jsonl", rubric=rubric, pairwise=False)
    found = part(scores, "all")
    assert found["matrix"]["5"] == {"4": 1, "unparsable": 1} and found["unparsable"] == 1
    # Labels 1, 2, 4, 5 and verdicts 1, 3, 4, 4: two are one grade off.
    pairs = [(label - given) ** 2 for label in (1, 2, 4, 5) for given in (1, 3, 4, 4)]
    assert found["kappa"]["estimate"] == pytest.approx(1 - 2 * 4 / sum(pairs))
    assert found["kappa"]["method"].startswith("quadratically weighted Cohen")
    # A reply that cannot be read found no fault, and there was none.
    assert found["sensitivity"]["estimate"] == found["specificity"]["estimate"] == 1.0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            '{"id": "a", "system": "base", "label": "bad"}',
            '`label` is "bad"; the rubric has complies, violates',
        ),
        ('{"id": "a", "system": "other", "label": "complies"}', "it is base or tuned"),
        ('{"id": "a", "label": "complies"}', "without `output` it takes `id` and `system`"),
        ('{"output": "o", "label": "complies"}', "`output` needs the `prompt`"),
        ('{"id": 7, "system": "base", "label": "complies"}', "`id` is 7; it is text"),
        ('{"id": "a", "system": "base", "label": true}', "`label` is true"),
        ("[1]", "found list, expected an object"),
        ('{"id": "a",', "JSON"),
        ("", "holds no labelled answer"),
    ],
)
def test_labels_that_cannot_be_used_are_told_with_their_line(line, said, tmp_path):
    (tmp_path / "labels.jsonl").write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(DataError) as error:
        ready_judge(settings("http://127.0.0.1:9/v1", labels="labels.jsonl"), tmp_path)
    assert said in str(error.value)
    assert not line or f"{tmp_path / 'labels.jsonl'}:1: " in str(error.value)


def test_two_labels_of_one_answer_are_told(tmp_path):
    rows = [{"id": "a", "system": "base", "label": label} for label in ("complies", "violates")]
    write_labels(tmp_path, rows)
    with pytest.raises(DataError, match=r"jsonl:2: labels the answer of .*jsonl:1 again"):
        ready_judge(settings("http://127.0.0.1:9/v1", labels="labels.jsonl"), tmp_path)


def test_a_changed_label_or_rubric_scores_anew(tmp_path):
    (tmp_path / "rubric.yaml").write_text("question: q\nlabels: [a, b]\ngood: [a]\n")
    config = settings("http://127.0.0.1:9/v1", rubric="rubric.yaml", labels="labels.jsonl")
    write_labels(tmp_path, [{"id": "a", "system": "base", "label": "a"}])
    before = judge_hash(config, tmp_path)
    assert before == judge_hash(config, tmp_path) != judge_hash(Config(), tmp_path)
    write_labels(tmp_path, [{"id": "a", "system": "base", "label": "b"}])
    second = judge_hash(config, tmp_path)
    (tmp_path / "rubric.yaml").write_text("question: other\nlabels: [a, b]\ngood: [a]\n")
    assert len({before, second, judge_hash(config, tmp_path)}) == 3


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
