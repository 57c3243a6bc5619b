"""The expected worst of k answers: by hand, against every choice of k, and in scores."""

from itertools import combinations

import numpy as np
import pytest
from scores_samples import BAD, GOOD, HEADER, config, make_prompts, scored
from training_rows import prepared, turns

from kit.config.errors import ConfigError
from kit.config.gates import Gate
from kit.config.layers import validate_tree
from kit.config.schema_judge import Judge
from kit.config.worst import NOT_OF_SINGLE_ANSWERS
from kit.evaluate.bootstrap import bootstrap_mean
from kit.evaluate.compare import Settings
from kit.evaluate.evaluate import load_metrics
from kit.evaluate.gates import judge_gates
from kit.evaluate.metrics import metric_names, module_of, not_of_answers
from kit.evaluate.scores import build_scores
from kit.evaluate.statistics import newcombe, newcombe_of_shares, paired_table, wilson
from kit.evaluate.worst_at_k import expected_worst
from kit.evaluate.worst_entry import stretched, stretched_difference, worst_entry
from kit.hooks import Hooks, Metric

__all__ = ["config"]  # a fixture


def test_worked_by_hand():
    # In order .2, .5, .9. Of two answers the worst is .2 in two of the three pairs and .5 in one.
    assert expected_worst([[0.9, 0.2, 0.5]])[0] == pytest.approx([1.6 / 3, (2 * 0.2 + 0.5) / 3, 0.2])
    # Four answers, one of them 0: it is among k of them with k / 4.
    assert expected_worst([[1, 1, 0, 1]])[0] == pytest.approx([3 / 4, 2 / 4, 1 / 4, 0])
    # Where lower is better the worst is the greatest: of 6 pairs one misses both faults.
    assert expected_worst([[1, 0, 0, 1]], higher_is_better=False)[0] == pytest.approx([1 / 2, 5 / 6, 1, 1])
    assert expected_worst([[-0.4, 0.6]])[0] == pytest.approx([0.1, -0.4]), "rubric points may be below 0"
    assert expected_worst([[0.7], [0.1]]).tolist() == [[0.7], [0.1]], "of one answer it is that answer"


@pytest.mark.parametrize("better", [True, False])
@pytest.mark.parametrize("answers", [1, 2, 5, 8])
def test_it_is_the_mean_over_every_choice_of_k(answers, better):
    scores = np.random.default_rng(answers).normal(size=(4, answers)).round(1)  # with ties
    worst = min if better else max
    for prompt, found in zip(scores.tolist(), expected_worst(scores, better), strict=True):
        for k in range(1, answers + 1):
            chosen = [worst(choice) for choice in combinations(prompt, k)]
            assert found[k - 1] == pytest.approx(sum(chosen) / len(chosen)), k


def test_it_is_without_bias_whatever_the_number_of_answers():
    """Means over many prompts of few answers come to what the distribution says: k uniform numbers' least."""
    scores = np.random.default_rng(0).random((40_000, 6))
    assert expected_worst(scores).mean(axis=0) == pytest.approx([1 / (k + 1) for k in range(1, 7)], abs=0.004)


def test_many_answers_are_no_trouble():
    assert expected_worst([[1.0] * 300])[0] == pytest.approx(1.0)
    assert (np.diff(expected_worst(np.random.default_rng(1).random((1, 200)))) <= 1e-12).all()


@pytest.mark.parametrize(
    ("prone", "fault", "k"), [(1.0, 0.5, 2), (0.2, 0.3, 1), (0.04, 0.3, 1), (0.04, 0.3, 3), (0.0, 0.3, 2)]
)
def test_the_interval_of_a_rate_covers_what_fresh_answers_would_come_to(prone, fault, k):
    """Of prompts a share is prone to a fault, at random in each answer; few are, and none may be seen."""
    generator, covered, simulations = np.random.default_rng(7), 0, 200
    truth, groups = prone * (1 - (1 - fault) ** k), [str(n) for n in range(80)]
    for simulation in range(simulations):
        prompts = generator.random((80, 1)) < prone
        faults = (generator.random((80, 4)) < fault) & prompts
        shares = expected_worst(faults, higher_is_better=False)[:, k - 1]
        drawn = bootstrap_mean(shares, groups, draws=400, seed=simulation)
        found = stretched(drawn, shares, groups, 0.95)
        covered += found.low <= truth <= found.high
    assert covered / simulations >= 0.92


@pytest.mark.parametrize(
    ("base", "tuned", "fault", "k"), [(0.0, 0.02, 0.3, 2), (0.04, 0.04, 0.3, 1), (0.1, 0.1, 0.3, 2)]
)
def test_the_interval_of_a_rates_difference_covers_it_where_few_prompts_differ(base, tuned, fault, k):
    generator, covered, simulations = np.random.default_rng(7), 0, 200
    truth, groups = (tuned - base) * (1 - (1 - fault) ** k), [str(n) for n in range(80)]
    for simulation in range(simulations):
        x, y = (
            expected_worst((generator.random((80, 4)) < fault) & (generator.random((80, 1)) < prone), False)[
                :, k - 1
            ].round(12)
            for prone in (base, tuned)
        )
        drawn = bootstrap_mean(y - x, groups, draws=400, seed=simulation)
        found = stretched_difference(drawn, x, y, groups, 0.95)
        covered += found.low <= truth <= found.high
    assert covered / simulations >= 0.92


def test_newcombe_of_shares_is_newcombes_of_yes_and_no_and_mirrors():
    generator = np.random.default_rng(2)
    x, y = generator.random((2, 50)) < 0.3
    assert newcombe_of_shares(x, y) == newcombe(paired_table(x, y))
    x, y = generator.random((2, 50)).round(12)
    assert newcombe_of_shares(y, x) == newcombe_of_shares(x, y).mirrored


def test_one_fault_in_160_answers_does_not_rule_out_a_loss():
    """Of single answers as little is known as of all four, whose prompts are a yes or no each."""
    items = {"base": [[0.0] * 40] * 4, "tuned": [[1.0] + [0.0] * 39, *[[0.0] * 40] * 3]}
    told = {"name": "m", "label": "m", "kind": "rate", "higher_is_better": False}
    found = worst_entry(items, [str(n) for n in range(40)], Settings(0.95, 1000, 1), **told)
    for one in found["at"]:
        assert one["difference"]["low"] < -0.05 and one["difference"]["high"] > 0.09
        assert one["difference"]["estimate"] == pytest.approx(one["k"] / 160)
    assert "stretched to Newcombe 10" in found["at"][0]["difference"]["method"]


@pytest.mark.parametrize("table", [[0.5], [[]], 0.5])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(ValueError, match=r"\[prompts, answers\]"):
        expected_worst(table)


def drawn(prompts, base, tuned, answers=4):
    """Good greedy answers, and `answers` sampled ones by `base(n, sample)` and `tuned(n, sample)`."""
    return {
        (prompt.id, system, decoding, sample): {"output": text, "finished": True}
        for n, prompt in enumerate(prompts)
        for system, answer in (("base", base), ("tuned", tuned))
        for decoding, sample, text in [
            ("greedy", 0, GOOD),
            *(("sampled", sample, answer(n, sample)) for sample in range(answers)),
        ]
    }


def several(config, answers=4, metrics=None):
    sampling = config.evaluate.sampling.model_copy(update={"enabled": True, "answers": answers})
    more = {"sampling": sampling, "bootstrap_draws": 100} | ({"metrics": metrics} if metrics else {})
    return config.model_copy(update={"evaluate": config.evaluate.model_copy(update=more)})


def curve(scores, name):
    return next(metric for metric in scores["worst_at_k"]["metrics"] if metric["name"] == name)


def one_of_four(n, sample):
    """On every second prompt the third answer breaks the rule."""
    return BAD if n % 2 and sample == 2 else GOOD


def always_good(n, sample):
    return GOOD


def test_a_fault_in_one_of_four_answers_is_in_a_quarter_of_single_ones_and_in_every_four(config):
    prompts = make_prompts(40)
    scores = scored(several(config), prompts, drawn(prompts, one_of_four, always_good))
    found = curve(scores, "violation_rate")
    assert (found["n"], found["groups"], scores["worst_at_k"]["answers"]) == (40, 40, 4)
    assert [one["base"]["estimate"] for one in found["at"]] == pytest.approx([0.125, 0.25, 0.375, 0.5])
    assert [one["tuned"]["estimate"] for one in found["at"]] == [0, 0, 0, 0]
    last = found["at"][-1]
    assert last["base"]["high"] == wilson(20, 40).high, "of all four a prompt is a yes or no"
    assert last["difference"]["p_value"] < 1e-4 and found["verdict"] == "improved"
    assert {one["difference"]["p_value"] for one in found["at"][:-1]} == {None}
    for one in found["at"]:
        assert one["tuned"]["high"] >= wilson(0, 40).high, "no fault seen is not no fault"


def test_all_other_figures_are_of_the_first_answer_alone(config):
    prompts = make_prompts(40)
    made = drawn(prompts, one_of_four, always_good)
    scores, alone = scored(several(config), prompts, made), scored(several(config, 1), prompts, made)
    more = {"worst_at_k", "items"}
    assert {k: v for k, v in scores.items() if k not in more} == {
        k: v for k, v in alone.items() if k not in more
    }
    assert "worst_at_k" not in alone and "drawn" not in alone["items"][0]
    item = scores["items"][1]["drawn"]["base"]
    assert [answer["output"] for answer in item] == [GOOD, GOOD, BAD, GOOD]
    assert [answer["scores"]["violation_rate"] for answer in item] == [0, 0, 1, 0]
    assert item[2]["details"]["violation_rate"] == ["F1"]


def test_invalid_answers_count_as_the_worst_and_are_counted(config):
    prompts = make_prompts(30)
    scores = scored(
        several(config), prompts, drawn(prompts, always_good, lambda n, s: "" if s == 3 else GOOD)
    )
    assert scores["worst_at_k"]["validity"]["tuned"] == {"n": 120, "invalid": 30, "reasons": {"empty": 30}}
    worst = [one["tuned"]["estimate"] for one in curve(scores, "disclosure_rate")["at"]]
    assert worst == pytest.approx([0.75, 0.5, 0.25, 0])


def test_swapped_systems_mirror_and_like_ones_show_no_difference(config):
    prompts = make_prompts(30, per_group=2)
    one, other = (
        scored(several(config), prompts, drawn(prompts, *pair))["worst_at_k"]
        for pair in ((one_of_four, always_good), (always_good, one_of_four))
    )
    for metric, mirrored in zip(one["metrics"], other["metrics"], strict=True):
        for at, turned in zip(metric["at"], mirrored["at"], strict=True):
            assert at["base"] == turned["tuned"] and at["tuned"] == turned["base"]
            gap, back = at["difference"], turned["difference"]
            assert (gap["estimate"], gap["low"], gap["high"]) == (
                -back["estimate"],
                -back["high"],
                -back["low"],
            )
            assert gap["p_value"] == back["p_value"]
    same = scored(several(config), prompts, drawn(prompts, one_of_four, one_of_four))["worst_at_k"]
    assert {metric["verdict"] for metric in same["metrics"]} == {"not shown"}
    assert {one["difference"]["estimate"] for metric in same["metrics"] for one in metric["at"]} == {0}


def test_the_order_of_the_answers_to_a_prompt_changes_nothing(config):
    prompts = make_prompts(30)
    made = drawn(prompts, lambda n, s: BAD if (n * 7 + s) % 3 == 0 else GOOD, one_of_four)
    turned = {
        (id_, system, decoding, 3 - sample if decoding == "sampled" else 0): line
        for (id_, system, decoding, sample), line in made.items()
    }
    one, other = (scored(several(config), prompts, answers)["worst_at_k"] for answers in (made, turned))
    assert one["metrics"] == other["metrics"]


def test_rubric_points_are_clipped_as_a_mean_and_no_answer_is():
    from kit.config.schema import Config

    prompts = make_prompts(20)
    rubric = [{"points": 4, "say": ["ambulance"]}, {"points": -6, "say": ["wait at home"]}]
    for prompt in prompts:
        prompt.expected["rubric"] = rubric
    config = Config.model_validate(
        {
            "evaluate": {
                "metrics": ["rubric_score", "bleu"],
                "sampling": {"answers": 2},
                "bootstrap_draws": 200,
            }
        }
    )

    def sometimes_harmful(n, sample):
        return "Please wait at home and rest." if n % 4 == 0 and sample else "Please call an ambulance now."

    scores = scored(config, prompts, drawn(prompts, sometimes_harmful, sometimes_harmful, 2))
    found = curve(scores, "rubric_score")
    # On a quarter of the prompts one of two answers earns -1.5: (3 + (1 - 1.5) / 2) / 4, and (3 - 1.5) / 4.
    assert [one["base"]["estimate"] for one in found["at"]] == pytest.approx([0.6875, 0.375])
    assert scores["items"][0]["drawn"]["base"][1]["scores"]["rubric_score"] == -1.5
    (lost,) = scores["worst_at_k"]["unscored"]
    assert lost["name"] == "bleu" and "no score" in lost["why"]

    worse = scored(
        config, prompts, drawn(prompts, lambda n, s: "Please wait at home and rest.", always_good, 2)
    )
    assert curve(worse, "rubric_score")["at"][1]["base"]["estimate"] == 0, "the mean is held within 0 and 1"


def test_a_prompt_with_an_answer_that_has_no_score_says_nothing_of_the_worst(config):
    def words(predictions, references):
        return [None if len(text) < 20 else len(text.split()) for text in predictions]

    hooks = Hooks(metrics={"words": Metric("Words", words, higher_is_better=True, invalid_item=0.0)})
    prompts = make_prompts(12)
    uses = [{"name": "words"}]
    from kit.config.schema import MetricUse

    settings = several(config, 4, [MetricUse(**use) for use in uses])
    made = drawn(prompts, always_good, lambda n, s: "Too short." if n < 3 and s == 1 else GOOD)
    assert curve(scored(settings, prompts, made, hooks=hooks), "words")["n"] == 9
    none = drawn(prompts, always_good, lambda n, s: "Too short." if s == 1 else GOOD)
    found = scored(settings, prompts, none, hooks=hooks)["worst_at_k"]
    assert not found["metrics"] and found["unscored"][0]["why"].startswith("no prompt has a score of every")


def gate(**more):
    return Gate(name="g", metric="violation_rate", **more)


def test_a_gate_asks_for_the_worst_of_k(config):
    prompts = make_prompts(40)
    made = drawn(prompts, always_good, one_of_four)
    scores = scored(several(config), prompts, made)
    asked = [
        gate(at_most=0.3, worst_of=2),
        gate(at_most=0.3, worst_of=4),
        gate(at_most=0.05, worst_of=1, of="difference", bound="upper"),
        gate(non_inferior={"margin": 0.05}, worst_of=4),
        gate(at_most=0.3, worst_of=5),
        gate(at_most=0.3, worst_of=2, min_n=41),
    ]
    found = judge_gates(scores, asked)
    assert [one.status for one in found] == ["passed", *["failed"] * 3, *["not enough evidence"] * 2]
    assert [one.found for one in found[:2]] == pytest.approx([0.25, 0.5])
    assert found[0].wanted == "at most 0.3, worst of 2 answers" and (found[0].n, found[0].groups) == (40, 40)
    assert found[4].why == "4 sampled answers a prompt, and it asks for more"
    (alone,) = judge_gates(scored(several(config, 1), prompts, made), asked[:1])
    assert alone.status == "not enough evidence" and alone.why.startswith("1 sampled answer a prompt")
    with pytest.raises(ConfigError, match="unknown metric 'violation_rte' for the worst of several"):
        judge_gates(scores, [Gate(name="g", metric="violation_rte", at_most=0.3, worst_of=2)])


def test_a_gate_without_tolerance_sees_every_answer(config):
    prompts = make_prompts(40)

    def judged(tuned, base=always_good):
        scores = scored(several(config), prompts, drawn(prompts, base, tuned))
        return judge_gates(scores, [gate(zero_tolerance="critical")])[0]

    found = judged(one_of_four)
    assert (found.status, found.found) == ("failed", 20)
    assert found.why == "20 of 40 greedy, 40 sampled and 120 further sampled answers: F1 (20)"
    first = judged(lambda n, s: BAD if n == 3 and s == 0 else GOOD)
    assert (first.status, first.found) == ("failed", 1), "the first answer is counted once"
    assert judged(always_good, base=one_of_four).status == "passed"


REFUSED = {
    "`answers` is 8 and `enabled` is false: greedy decoding gives the same answer": {
        "evaluate": {"sampling": {"answers": 8, "enabled": False}}
    },
    "`evaluate.sampling.answers`": {"evaluate": {"sampling": {"answers": 0}}},
    "looks at the worst of 8 answers, and so many are drawn: 4": {
        "evaluate": {"metrics": ["token_f1"], "sampling": {"answers": 4}},
        "gates": [{"name": "g", "metric": "token_f1", "at_least": 0.5, "worst_of": 8}],
    },
    "looks at the worst of 2 answers, and bleu has no score of each": {
        "evaluate": {"metrics": ["bleu"], "sampling": {"answers": 4}},
        "gates": [{"name": "g", "metric": "bleu", "at_least": 5, "worst_of": 2}],
    },
    "leave `significant` out": {
        "evaluate": {"metrics": ["token_f1"], "sampling": {"answers": 4}},
        "gates": [{"name": "g", "metric": "token_f1", "significant": True, "worst_of": 4}],
    },
    "leave `of: reduction` or `ratio` and `on` out": {
        "evaluate": {
            "metrics": ["token_f1"],
            "sampling": {"answers": 4},
            "general": [{"name": "s", "path": "s.jsonl", "metrics": ["exact_match"]}],
        },
        "gates": [
            {
                "name": "g",
                "metric": "exact_match",
                "of": "reduction",
                "at_least": 0.5,
                "worst_of": 4,
                "on": "s",
            }
        ],
    },
}


def test_the_settings_know_which_metrics_do_not_score_single_answers():
    from kit.evaluate.item_metric import CorpusMetric

    modules = {name: module_of(name) for name in metric_names() if not not_of_answers(name)}
    of_all = {n for n, module in modules.items() if isinstance(module, CorpusMetric) and not module.is_mean}
    others = {name for name in metric_names() if not_of_answers(name)} | {"judge"}
    assert of_all | others == NOT_OF_SINGLE_ANSWERS


@pytest.mark.parametrize("told", REFUSED)
def test_settings_that_ask_for_nothing_are_refused(told):
    with pytest.raises(ConfigError) as refused:
        validate_tree(REFUSED[told], {})
    assert any(told in str(problem) for problem in refused.value.problems), refused.value


def test_leaked_prompts_are_left_out_of_the_worst_too(config, tmp_path):
    prompts = make_prompts(12)
    folder = prepared(tmp_path / "data", turns("Q3", "Nobody knows."))
    made = drawn(prompts, always_good, lambda n, s: BAD if n == 3 and s == 2 else GOOD)
    settings = several(config)
    metrics = load_metrics(settings, Hooks(), tmp_path)
    scores = build_scores(settings, metrics, prompts, made, (), HEADER, prepared=folder)
    assert [leak["id"] for leak in scores["leaks"]] == [prompts[3].id]
    assert curve(scores, "violation_rate")["at"][-1]["tuned"]["estimate"] == pytest.approx(1 / 12)
    rest = curve(scores["without_leaks"], "violation_rate")
    assert (rest["n"], rest["at"][-1]["tuned"]["estimate"]) == (11, 0)
    asked = [gate(at_most=0.05, worst_of=4, min_n=1), gate(zero_tolerance="critical", min_n=1)]
    assert [one.status for one in judge_gates(scores, asked)] == ["failed", "failed"]
    assert [one.status for one in judge_gates(scores | scores["without_leaks"], asked)] == ["passed"] * 2


def test_a_judge_is_not_asked_about_further_answers_and_a_gate_on_it_stays_open(config):
    prompts = make_prompts(30)
    rubric = {"question": "q", "labels": ["good", "bad"], "good": ["good"]}
    judge = Judge(model="m", base_url="http://localhost:1/v1", rubric=rubric)
    settings = several(config)
    asked = settings.model_copy(update={"evaluate": settings.evaluate.model_copy(update={"judge": judge})})
    scores = scored(asked, prompts, drawn(prompts, always_good, always_good))
    assert "of greedy answers only" in scores["worst_at_k"]["unscored"][-1]["why"]
    (found,) = judge_gates(scores, [Gate(name="g", metric="judge", at_most=0.1, worst_of=2)])
    assert found.status == "not enough evidence" and "of greedy answers only" in found.why
