"""The case's metrics as rewards: that nothing is won by silence, by refusal, or by dodging a metric."""

import json
from pathlib import Path
from typing import Any

import pytest
from small_models import save_split

from kit.config.errors import ConfigError
from kit.config.grpo import BALANCED_BY, NOT_OF_ONE_ANSWER, one_sided, rewards_of
from kit.config.layers import load_config
from kit.config.schema import Config
from kit.data.render import stop_ids
from kit.evaluate.metrics import _NOT_OF_ANSWERS, metric_names, module_of
from kit.evaluate.prompts import Prompt
from kit.evaluate.rewards import load_rewards, prompt_of
from kit.evaluate.two_sided import PAIRS
from kit.hooks import Hooks, Metric
from kit.rewards import Reward

RECIPES = Path(__file__).parents[2] / "recipes"
ASKED = "I have 9,000 to invest. Is the index fund a good idea?"
SAFE = "The index fund may suit a long horizon. It can lose value, and no return is guaranteed."
PROMISE = "Yes: the index fund guarantees 8 percent a year, you cannot lose your money."
REFUSAL = "I'm sorry, but I can't help."


def row_of(expected: dict[str, Any], answer: str = SAFE, asked: str = ASKED) -> dict[str, Any]:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "tools": [], "expected": expected}


def prepared_with(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """Prepared data whose training rows are these."""
    beside = {"slices": "{}", "group": "", "source": "s", "line": 1, "tools": "[]"}
    packed = [
        {**row, "id": str(n), "expected": json.dumps(row["expected"]), **beside} for n, row in enumerate(rows)
    ]
    save_split(folder / "train", packed)
    return folder


def rewards_for(
    tmp_path: Path, metrics: list[Any], rows: list[Any], hooks: Hooks | None = None
) -> list[Reward]:
    names = [use if isinstance(use, str) else use["name"] for use in metrics]
    tree = {"evaluate": {"metrics": metrics}, "train": {"stage": "grpo", "grpo": {"rewards": names}}}
    return load_rewards(
        Config.model_validate(tree), tmp_path, prepared_with(tmp_path / "prepared", rows), hooks or Hooks()
    )


def drawn(tokenizer: Any, text: str, ended: bool = True) -> list[int]:
    """An answer's tokens as they are drawn."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids + stop_ids(tokenizer)[:1] if ended else ids


def finance(name: str) -> dict[str, Any]:
    return {"name": name, "params": {"policy": str(RECIPES / "finance" / "policy.yaml")}}


def total(
    rewards: list[Reward], tokenizer: Any, answers: list[list[int]], row: dict[str, Any]
) -> list[float]:
    """What TRL sums up: every reward times its weight, those that say nothing left out."""
    columns = [reward.score(tokenizer, answers, [row] * len(answers)) for reward in rewards]
    weights = [reward.weight for reward in rewards]
    return [
        sum(weight * value for weight, value in zip(weights, values, strict=True) if value is not None)
        for values in zip(*columns, strict=True)
    ]


def test_silence_refusal_and_noise_never_beat_an_answer_that_keeps_the_rules(tokenizer, tmp_path):
    """An empty answer breaks no rule of the policy; a violation metric alone would call it the best."""
    row = row_of({"topic": "investment", "answerable": True})
    metrics = [finance("violation_rate"), finance("over_refusal_rate")]
    rewards = rewards_for(tmp_path, metrics, [row])
    answers = {
        "safe": drawn(tokenizer, SAFE),
        "refusal": drawn(tokenizer, REFUSAL),
        "promise": drawn(tokenizer, PROMISE),
        "empty": drawn(tokenizer, ""),
        "blank": drawn(tokenizer, "  "),
        "cut": drawn(tokenizer, SAFE, ended=False),
        "repeating": drawn(tokenizer, "It can lose value. " * 12),
    }
    found = dict(zip(answers, total(rewards, tokenizer, list(answers.values()), row), strict=True))
    assert found["safe"] == max(found.values()) == 0
    assert found["refusal"] == found["promise"] == -1
    for broken in ("empty", "blank", "cut", "repeating"):
        assert found[broken] == min(found.values()) == -2

    alone = total(rewards[:1], tokenizer, list(answers.values()), row)
    found = dict(zip(answers, alone, strict=True))
    assert found["refusal"] == found["safe"], "which is why one metric alone is advised against"
    assert found["empty"] == found["promise"] == -1


def test_a_fault_rewarded_without_its_over_caution_is_told():
    assert "add over_refusal_rate to train.grpo.rewards" in one_sided({"violation_rate": 1.0})[0]
    assert not one_sided({"violation_rate": 1.0, "over_refusal_rate": 0.5})
    assert sorted(BALANCED_BY.items()) == sorted(PAIRS)


@pytest.mark.parametrize("recipe", ["finance", "medical", "ecommerce"])
def test_every_recipe_balances_its_rewards_and_they_load(recipe, tmp_path):
    (tmp_path / "conf").mkdir()
    for name in ("recipe.yaml", "policy.yaml"):
        (tmp_path / "conf" / name).write_text((RECIPES / recipe / name).read_text(encoding="utf-8"))
    loaded = load_config(tmp_path, ["train.stage=grpo"])
    assert len(rewards_of(loaded.config)) > 2 and not one_sided(rewards_of(loaded.config))
    rewards = load_rewards(loaded.config, tmp_path, tmp_path, Hooks())
    assert {reward.name: reward.weight for reward in rewards} == rewards_of(loaded.config)


def test_what_gives_no_value_for_one_answer_is_known_where_settings_are_checked():
    assert set(NOT_OF_ONE_ANSWER) == {*_NOT_OF_ANSWERS, "judge"}
    for name in set(metric_names()) - set(NOT_OF_ONE_ANSWER):
        assert isinstance(
            module_of(name).invalid_item, float
        )  # all others say what an invalid answer is worth


def test_higher_is_better_whatever_the_metric_says_and_the_invalid_are_worst(tokenizer, tmp_path):
    row = row_of({}, answer="It comes soon.")
    (far, exact) = rewards_for(tmp_path, ["answer_length", "exact_match"], [row])
    answers = [drawn(tokenizer, text) for text in ("It comes soon.", "It", "")]
    assert far.score(tokenizer, answers, [row] * 3) == [0, pytest.approx(-2 / 3), -1]
    assert exact.score(tokenizer, answers, [row] * 3) == [1, 0, 0]


def test_labels_are_those_of_all_rows_not_of_a_few_answers(tokenizer, tmp_path):
    rows = [row_of({"label": label}, answer=label) for label in ("yes", "no", "maybe")]
    (right,) = rewards_for(tmp_path, ["closed_accuracy"], rows)
    answers = [drawn(tokenizer, text) for text in ("yes", "no", "maybe, yes")]
    assert right.score(tokenizer, answers, [rows[0]] * 3) == [1, 0, 0]


def test_an_answer_that_a_metric_cannot_judge_is_not_the_better_for_it(tokenizer, tmp_path):
    def long_ones(predictions, references):
        return [
            None if reference.get("skip") or len(text) < 5 else 0.5
            for text, reference in zip(predictions, references, strict=True)
        ]

    hooks = Hooks(metrics={"polite": Metric(label="Polite", score=long_ones)})
    row, skipped = row_of({}), row_of({"skip": True})
    (polite,) = rewards_for(tmp_path, ["polite"], [row, skipped], hooks)
    answers = [drawn(tokenizer, text) for text in ("With pleasure.", "Hm.", "With pleasure.", "Hm.")]
    assert polite.score(tokenizer, answers, [row, row, skipped, skipped]) == [0.5, 0, None, None]


def test_the_tokens_of_an_answer_are_read_as_evaluation_reads_them(tokenizer, tmp_path):
    row = row_of({}, answer="It comes soon.")
    (exact,) = rewards_for(tmp_path, ["exact_match"], [row])
    stop = stop_ids(tokenizer)[:1]
    after_the_stop = [*drawn(tokenizer, "It comes soon."), *drawn(tokenizer, " Or not.")]
    answers = [drawn(tokenizer, "\nIt comes soon. "), after_the_stop, stop]
    assert exact.score(tokenizer, answers, [row] * 3) == [1, 1, 0]


def test_a_row_is_the_prompt_that_evaluation_asks():
    system = {"role": "system", "content": "Be kind."}
    row = row_of({"topic": "investment"})
    row["messages"] = [system, *row["messages"]]
    prompt = prompt_of(row)
    assert isinstance(prompt, Prompt) and prompt.messages == row["messages"][:-1]
    assert prompt.reference == {"topic": "investment", "answer": SAFE, "prompt": ASKED}


def test_every_metric_that_cannot_be_a_reward_is_told_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        rewards_for(tmp_path, [{"name": "violation_rate"}, {"name": "response_time"}], [row_of({})])
    assert len(caught.value.problems) == 2
