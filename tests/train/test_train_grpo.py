"""Learning from rewards: what is drawn, what is learned from it, and that a run goes on where it stopped."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch
from train_rewards import reward_by, write_rewarded
from train_world import losses_of, weights_of, write_base

from kit.config.errors import DataError, InvalidRunError
from kit.config.schema import Config
from kit.data.render import prompt_ids, stop_ids
from kit.models.loading import load_base, load_tokenizer
from kit.rewards import Reward
from kit.train.chain import Link
from kit.train.examples import load_rows, tokenise
from kit.train.grpo import GroupTrainer, PromptSampler
from kit.train.metrics import read_metrics
from kit.train.prompts import prompts_of, read_row
from kit.train.rounds import GENERATIONS
from kit.train.stages import train

pytestmark = pytest.mark.slow
LOW = 192
"""Half of the vocabulary of 384."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the other tests' base, with words far enough apart that an adapter can choose among them."""
    return write_base(tmp_path_factory.mktemp("base"), initializer_range=0.15)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rewarded(tmp_path_factory.mktemp("asked"), train=24, valid=4)


@pytest.fixture
def drawing(settings: Callable[..., Config]) -> Callable[..., Config]:
    """Settings of a short run: four answers of eight tokens to each of four prompts a step."""

    def make(method: str = "full", grpo: dict[str, Any] | None = None, **train: Any) -> Config:
        short = {"global_batch_size": 16, "per_device_train_batch_size": 16, "golden_prompts": 4}
        own = {"num_generations": 4, "max_completion_length": 8, **(grpo or {})}
        return settings(method, stage="grpo", grpo=own, **{**short, **train})

    return make


def low_tokens(answer: Any, row: Any) -> float:
    """The share of an answer's tokens from the lower half of the vocabulary; at first it is about half."""
    return sum(token < LOW for token in answer) / len(answer)


LOW_TOKENS = reward_by(low_tokens, "low_tokens")


def lines_of(run: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in read_metrics(run) if line["kind"] == kind]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_is_rewarded_becomes_likelier(method, drawing, asked, tmp_path):
    rate = 1e-2 if method == "full" else 3e-2
    steady = {"lr_scheduler_type": "constant", "early_stopping_patience": 9}
    config = drawing(method, learning_rate=rate, num_train_epochs=3, eval_steps=6, **steady)
    run = train(config, tmp_path, asked, None, rewards=[LOW_TOKENS])
    drawn, validated = lines_of(run, "train"), lines_of(run, "eval")
    assert drawn[0]["reward"] < 0.65
    assert drawn[-1]["reward"] > 0.85
    assert validated[-1]["reward"] > 0.85
    assert drawn[0]["rewards"] == {"low_tokens": drawn[0]["reward"]}
    for line in validated:  # the validation loss is minus the reward, whatever the last batch's size
        assert line["eval_loss"] == pytest.approx(-line["reward"])
    events = {line["event"] for line in lines_of(run, "event")}
    assert events <= {"memory"}, "a loss that is about 0 has neither spikes nor plateaus"
    golden = json.loads((run / "golden" / "golden.json").read_text())
    assert golden["eval_loss"] == min(line["eval_loss"] for line in validated)


def make_trainer(config: Config, prepared: Path, run: Path, rewards: list[Reward]) -> GroupTrainer:
    """A trainer before its first step."""
    from kit.train import setup

    tokenizer = load_tokenizer(config.model)
    rows = {split: load_rows(prepared, split, "grpo") for split in ("train", "valid")}
    examples = {split: tokenise(rows[split], tokenizer, config) for split in rows}
    (run / "checkpoints").mkdir(parents=True)
    trainer, _ = setup.make_trainer(config, run, examples, tokenizer, None, None, "", rewards=rewards)
    assert isinstance(trainer, GroupTrainer)
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def move(trainer: GroupTrainer, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter += 0.03 * torch.randn_like(parameter)


def log_probabilities(model: Any, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """Of every token of an answer after its prompt, written out."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + answer])).logits[0].float()
    logs = torch.log_softmax(logits, dim=-1)
    return torch.stack([logs[len(prompt) - 1 + at, token] for at, token in enumerate(answer)])


def rows_of(inputs: dict[str, Any], name: str) -> list[list[int]]:
    """The tokens of a padded tensor, without padding."""
    ids, mask = inputs[f"{name}_ids"], inputs[f"{name}_mask"].bool()
    return [row[kept].tolist() for row, kept in zip(ids, mask, strict=True)]


@pytest.mark.parametrize(
    ("method", "loss", "scale"),
    [("full", "dapo", "group"), ("lora", "grpo", "none"), ("lora", "dr_grpo", "group")],
)
def test_the_loss_of_a_round_is_the_formula(method, loss, scale, drawing, asked, tmp_path, exact_arithmetic):
    """Shao et al. 2024, eqs. 3 and 4, the divergence weighed by the ratio (DeepSeek-V3.2, 2025); the
    loss of a second step, where probabilities have moved."""
    own = {"beta": 0.3, "epsilon": 0.1, "loss_type": loss, "scale_rewards": scale, "num_iterations": 2}
    config = drawing(method, own)
    ended = reward_by(lambda answer, row: float(answer[-1] < 30) + len(answer) / 8, "ended", weight=0.5)
    trainer = make_trainer(config, asked, tmp_path / "run", [LOW_TOKENS, ended])
    batch = [trainer.train_dataset[row] for row in range(4) for _ in range(4)]
    move(trainer, 0)
    trainer.model.train()
    inputs = trainer._prepare_inputs(batch)
    before = {}
    prompts, answers = rows_of(inputs, "prompt"), rows_of(inputs, "completion")
    for at, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        before[at] = log_probabilities(trainer.model, prompt, answer)
    move(trainer, 1)
    found = trainer.compute_loss(trainer.model, inputs).item()

    rewards = torch.tensor([low_tokens(answer, None) + 0.5 * ended_of(answer) for answer in answers])
    base = load_base(config)
    groups = [tuple(prompt) for prompt in prompts]
    terms, clipped = [], 0
    for at, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        group = rewards[[other == groups[at] for other in groups]]
        assert len(group) == 4
        advantage = rewards[at] - group.mean()
        if scale == "group":
            advantage = advantage / (group.std() + 1e-4)
        now = log_probabilities(trainer.model, prompt, answer)
        ratio = torch.exp(now - before[at])
        clipped += int(((ratio - 1).abs() > 0.1).sum())
        gain = torch.min(ratio * advantage, ratio.clamp(0.9, 1.1) * advantage)
        away = log_probabilities(base, prompt, answer) - now
        terms.append(0.3 * ratio * (away.exp() - away - 1) - gain)
    assert clipped and rewards.std() > 0.05  # else neither ratio nor advantage would be tested
    if loss == "dapo":
        expected = torch.cat(terms).sum() / sum(map(len, terms))
    elif loss == "grpo":
        expected = torch.stack([term.mean() for term in terms]).mean()
    else:
        expected = torch.cat(terms).sum() / (16 * 8)
    assert found == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)


def ended_of(answer: list[int]) -> float:
    return float(answer[-1] < 30) + len(answer) / 8


def test_a_prompt_is_what_serving_sends_and_an_answer_ends_where_serving_stops(drawing, asked, tmp_path):
    config = drawing()
    trainer = make_trainer(config, asked, tmp_path / "run", [LOW_TOKENS])
    tokenizer = trainer.processing_class
    rows = load_rows(asked, "train", "grpo")
    trainer.model.train()
    inputs = trainer._prepare_inputs([trainer.train_dataset[row] for row in range(4) for _ in range(4)])
    sent = {tuple(prompt_ids(rows[row]["messages"][:-1], tokenizer)) for row in range(4)}
    assert {tuple(prompt) for prompt in rows_of(inputs, "prompt")} == sent
    assert trainer.eos_token_ids == trainer.generation_config.eos_token_id == stop_ids(tokenizer)
    for answer in rows_of(inputs, "completion"):
        assert len(answer) == 8 or answer[-1] in stop_ids(tokenizer)
        assert not set(answer[:-1]) & set(stop_ids(tokenizer))


def test_a_prompt_with_tools_is_what_serving_sends(base, drawing):
    config = drawing()
    tokenizer = load_tokenizer(config.model)
    look_up = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
    turns = [{"role": "system", "content": "Help."}, {"role": "user", "content": "Where is my order?"}]
    row = {
        "messages": [*turns, {"role": "assistant", "content": "On its way."}],
        "tools": [look_up],
        "expected": '{"topic": "orders"}',
    }
    (example,) = prompts_of([row], tokenizer, config)
    assert example["prompt"] == prompt_ids(turns, tokenizer, [look_up])
    assert example["prompt"] != prompt_ids(turns, tokenizer)
    assert read_row(example["row"]) == {**row, "expected": {"topic": "orders"}}


class InterruptAt:
    """A task score that presses Ctrl-C while it is asked for the n-th time."""

    def __init__(self, evaluation: int) -> None:
        self.left = evaluation

    def __call__(self, model: object, tokenizer: object) -> float:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return 0.5


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_run_stopped_within_a_round_ends_as_an_unbroken_one_bit_for_bit(method, drawing, asked, tmp_path):
    """Two optimiser steps learn from a round of answers, in two passes each. It is stopped between the two,
    in the second epoch; what the round drew is used up after it goes on."""
    config = drawing(
        method,
        {"num_iterations": 2, "beta": 0.1},
        per_device_train_batch_size=8,
        num_train_epochs=2,
        max_steps=16,
        eval_steps=13,
        save_steps=100,
    )
    rewards = [LOW_TOKENS]
    unbroken = train(config, tmp_path / "a", asked, InterruptAt(99), rewards=rewards)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "b", asked, InterruptAt(1), rewards=rewards)
    (run,) = (tmp_path / "b" / "runs").iterdir()
    (stopped,) = (run / "checkpoints").iterdir()
    assert stopped.name == "checkpoint-13"  # twelve steps an epoch
    kept = torch.load(stopped / GENERATIONS, weights_only=True)
    assert kept["step"] == 13 * 2 and [len(passes) for passes in kept["answers"]] == [2]

    train(config, tmp_path / "b", asked, InterruptAt(99), resume=run, rewards=rewards)
    assert weights_of(run, "checkpoints/checkpoint-16") == weights_of(unbroken, "checkpoints/checkpoint-16")
    timed = {"tokens_per_second", "memory_gib", "memory_share"}
    kept_lines, whole = (
        [{k: v for k, v in line.items() if k not in timed} for line in read_metrics(one)]
        for one in (run, unbroken)
    )
    assert kept_lines == whole
    assert weights_of(run) == weights_of(unbroken)


def test_what_is_drawn_depends_on_the_seed_and_not_on_validation_or_passes(
    drawing, asked, tmp_path, exact_arithmetic
):
    def rewards_drawn(name: str, **settings: Any) -> tuple[list[float], list[float]]:
        config = drawing(max_steps=4, early_stopping_patience=9, **settings)
        run = train(config, tmp_path / name, asked, None, rewards=[LOW_TOKENS])
        return [line["reward"] for line in lines_of(run, "train")], losses_of(run)

    once = rewards_drawn("a")
    assert rewards_drawn("b", eval_steps=1) == once
    in_passes = rewards_drawn("c", per_device_train_batch_size=4)
    assert in_passes[0] == once[0]
    assert in_passes[1] == pytest.approx(once[1], abs=1e-5)
    assert rewards_drawn("d", seed=43)[0] != once[0]


@pytest.mark.parametrize("loss", ["dapo", "grpo", "dr_grpo"])
def test_cutting_the_batch_into_passes_changes_nothing_but_rounding(
    loss, drawing, asked, tmp_path, exact_arithmetic
):
    runs = [
        train(
            drawing("full", {"loss_type": loss}, per_device_train_batch_size=size, max_steps=3),
            tmp_path / str(size),
            asked,
            None,
            rewards=[LOW_TOKENS, reward_by(lambda answer, row: len(answer) / 8, "length")],
        )
        for size in (16, 4)
    ]
    one, several = ([line["grad_norm"] for line in lines_of(run, "train")] for run in runs)
    assert min(one) > 0
    assert several == pytest.approx(one, rel=1e-3)
    assert losses_of(runs[1]) == pytest.approx(losses_of(runs[0]), rel=1e-3, abs=1e-5)


def test_recomputing_activations_changes_nothing_but_rounding(drawing, asked, tmp_path, exact_arithmetic):
    runs = [
        train(
            drawing("lora", gradient_checkpointing=on, max_steps=2),
            tmp_path / str(on),
            asked,
            None,
            rewards=[LOW_TOKENS],
        )
        for on in (False, True)
    ]
    one, other = ([line["grad_norm"] for line in lines_of(run, "train")] for run in runs)
    assert other == pytest.approx(one, rel=1e-4)


def test_prompts_of_a_round_come_once_for_each_answer_and_every_epoch_in_another_order():
    sampler = PromptSampler([5, 9, 5, 9, 5, 9, 7], prompts=2, generations=3, repeats=2, seed=1)
    order = list(sampler)
    assert len(order) == len(sampler) == 3 * 2 * 3 * 2
    for start in range(0, len(order), 12):
        a, b = order[start], order[start + 3]
        assert a != b and order[start : start + 12] == [a, a, a, b, b, b] * 2
    assert len(set(order)) == 6, "what does not fill a round is left out"
    sampler.set_epoch(1)
    assert list(sampler) != order
    sampler.set_epoch(0)
    assert list(sampler) == order


def test_a_reference_holds_the_model_back(drawing, asked, tmp_path):
    """Also of an adapter, whose reference is the base, and is not saved with it."""
    moved = {}
    for beta in (0.01, 10.0):
        config = drawing("lora", {"beta": beta}, learning_rate=3e-2, num_train_epochs=2)
        run = train(config, tmp_path / str(beta), asked, None, rewards=[LOW_TOKENS])
        drawn = lines_of(run, "train")
        assert drawn[0]["kl"] == pytest.approx(0, abs=1e-6)
        moved[beta] = drawn[-1]["kl"]
        assert "ref" not in {path.name for path in (run / "golden").iterdir()}
    assert moved[10.0] < moved[0.01] / 4


@pytest.mark.parametrize("method", ["full", "lora"])
def test_rewards_go_on_from_an_earlier_stage_and_refer_to_it(method, settings, drawing, asked, tmp_path):
    stages = ["sft", "grpo"]
    taught = settings(method, learning_rate=3e-2, num_train_epochs=2)
    first = train(taught, tmp_path, asked, None, link=Link(stages, 0, before=None))
    config = drawing(method, {"beta": 0.1}, max_steps=2)
    run = train(config, tmp_path, asked, None, link=Link(stages, 1, before=first), rewards=[LOW_TOKENS])
    assert lines_of(run, "train")[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert json.loads((run / "manifest.json").read_text())["continues"]["run"] == first.name

    fresh = train(config, tmp_path, asked, None, rewards=[LOW_TOKENS])
    answers = [lines_of(one, "train")[0]["entropy"] for one in (run, fresh)]
    assert abs(answers[0] - answers[1]) > 1e-3, "it begins with what the first stage taught"


def test_a_base_in_four_bits_learns_from_rewards(drawing, asked, tmp_path):
    pytest.importorskip("bitsandbytes")
    config = drawing(
        "qlora",
        {"beta": 0.01},
        learning_rate=3e-2,
        num_train_epochs=4,
        eval_steps=24,
        lr_scheduler_type="constant",
    )
    run = train(config, tmp_path, asked, None, rewards=[LOW_TOKENS])
    rewards = [line["reward"] for line in lines_of(run, "train")]
    assert mean(rewards[-3:]) > mean(rewards[:3]) + 0.2


def test_a_loss_that_is_no_number_leaves_its_answers(drawing, asked, tmp_path, monkeypatch):
    broken = lambda self, model, inputs, *rest, **named: next(model.parameters()).sum() * float("nan")  # noqa: E731
    monkeypatch.setattr(GroupTrainer, "compute_loss", broken)
    with pytest.raises(InvalidRunError, match="no number"):
        train(drawing(), tmp_path, asked, None, rewards=[LOW_TOKENS])
    (run,) = (tmp_path / "runs").iterdir()
    left = json.loads((run / "broken_batch.json").read_text())
    assert "Where is my order" in left["text"][0] and len(left["advantages"]) == 16


def test_data_that_teaches_nothing_is_refused_before_the_model_loads(drawing, asked, tmp_path):
    never = Reward("never", 1.0, lambda row: False, lambda *_: [])
    with pytest.raises(DataError, match="never applies to none of 24 rows"):
        train(drawing(), tmp_path, asked, None, rewards=[LOW_TOKENS, never])
    few = drawing(global_batch_size=128)
    with pytest.raises(DataError, match="has 24 prompts, and a step takes 32"):
        train(few, tmp_path, asked, None, rewards=[LOW_TOKENS])
    long = drawing(grpo={"max_completion_length": 250})
    with pytest.raises(DataError, match="24 of 24 prompts leave no room for an answer of 250 tokens"):
        train(long, tmp_path, asked, None, rewards=[LOW_TOKENS])
    assert not any((tmp_path / "runs").glob("*/checkpoints/*"))


def test_rows_that_no_reward_concerns_are_left_out(drawing, asked, tmp_path):
    even = Reward("even", 1.0, lambda row: row["expected"]["number"] % 2 == 0, LOW_TOKENS.score)
    run = train(drawing(), tmp_path, asked, None, rewards=[even])
    assert json.loads((run / "manifest.json").read_text())["steps"] == 3  # 12 prompts of 24, 4 a step
