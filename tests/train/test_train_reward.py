"""Reward models: what is learned from pairs, by what loss, and what is kept of it."""

import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from train_world import losses_of, weights_of, write_preferences

from kit.config.schema import Config
from kit.data.answers import render_pair
from kit.models.loading import load_tokenizer, load_tuned
from kit.train.examples import load_rows, tokenise
from kit.train.metrics import read_metrics
from kit.train.reward import reward_gaps
from kit.train.stages import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_preferences(tmp_path_factory.mktemp("pairs"), train=24, valid=6)


def examples_of(config: Config, prepared: Path, split: str):
    tokenizer = load_tokenizer(config.model)
    return tokenise(load_rows(prepared, split, "reward"), tokenizer, config), tokenizer


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_a_reward_model_learns_which_answer_is_better_and_is_found_again(method, settings, pairs, tmp_path):
    if method == "qlora":
        pytest.importorskip("bitsandbytes")
    config = settings(method, stage="reward", num_train_epochs=6, eval_steps=6)
    run = train(config, tmp_path, pairs, task_score=None)
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["stage"], manifest["status"]) == ("reward", "finished")
    assert manifest["golden"]["metric"] == "pairwise_accuracy"
    evaluations = [line for line in read_metrics(run) if line["kind"] == "eval"]
    assert evaluations[-1]["reward_margin"] > evaluations[0]["reward_margin"]
    assert manifest["golden"]["score"] == max(line["task_score"] for line in evaluations) == 1.0

    examples, tokenizer = examples_of(config, pairs, "valid")
    model = load_tuned(run / "golden", config)
    gaps = reward_gaps(model, tokenizer, examples, batch_size=4)
    assert all(gap > 0 for gap in gaps)
    alone = [reward_gaps(model, tokenizer, [one], batch_size=1)[0] for one in examples]
    assert gaps == pytest.approx(alone, abs=1e-4)  # padding changes nothing
    (weights,) = (run / "golden").glob("*.safetensors")
    assert any("score" in name for name in load_file(weights))


def test_what_is_scored_is_the_prompt_that_is_served_and_its_answer(settings, pairs):
    config = settings("lora", stage="reward")
    examples, tokenizer = examples_of(config, pairs, "train")
    rows = load_rows(pairs, "train", "reward")
    for row, example in zip(rows, examples, strict=True):
        chosen, rejected = render_pair(row["messages"], row["rejected"][0], tokenizer, 256)
        assert example["chosen_ids"] == chosen.prompt_ids + chosen.completion_ids
        assert example["rejected_ids"] == rejected.prompt_ids + rejected.completion_ids


def test_the_loss_is_that_of_bradley_and_terry_however_the_batch_is_cut(
    settings, pairs, tmp_path, exact_arithmetic
):
    """Also where passes differ in size: the second step has ten pairs, which are seven and three."""
    runs = [
        train(
            settings(
                "full",
                stage="reward",
                per_device_train_batch_size=size,
                global_batch_size=14,
                num_train_epochs=2,
            ),
            tmp_path / str(size),
            pairs,
            task_score=None,
        )
        for size in (14, 7)
    ]
    assert len(losses_of(runs[0])) == 4
    assert losses_of(runs[1]) == pytest.approx(losses_of(runs[0]), rel=1e-4)

    config = settings("full", stage="reward")
    examples, tokenizer = examples_of(config, pairs, "valid")
    gaps = reward_gaps(load_tuned(runs[0] / "golden", config), tokenizer, examples, batch_size=3)
    step = json.loads((runs[0] / "golden" / "golden.json").read_text())["step"]
    (stated,) = (
        line["eval_loss"] for line in read_metrics(runs[0]) if line["kind"] == "eval" and line["step"] == step
    )
    assert stated == pytest.approx(sum(math.log1p(math.exp(-gap)) for gap in gaps) / len(gaps), rel=1e-4)


def test_a_continued_run_equals_an_unbroken_one_bit_for_bit(settings, pairs, tmp_path, monkeypatch):
    from kit.train.recorder import Recorder

    config = settings("lora", stage="reward", num_train_epochs=2, eval_steps=2, save_steps=100)
    unbroken = train(config, tmp_path / "a", pairs, task_score=None)
    original = Recorder.on_step_end

    def press(self, args, state, control, **rest):
        if state.global_step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        original(self, args, state, control, **rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Recorder, "on_step_end", press)
        train(config, tmp_path / "b", pairs, task_score=None)
    (run,) = (tmp_path / "b" / "runs").iterdir()
    train(config, tmp_path / "b", pairs, task_score=None, resume=run)
    assert weights_of(run, "checkpoints/checkpoint-6") == weights_of(unbroken, "checkpoints/checkpoint-6")
    assert losses_of(run) == losses_of(unbroken) and weights_of(run) == weights_of(unbroken)


def test_a_reward_model_goes_on_from_the_weights_of_the_stage_before(settings, pairs, prepared, tmp_path):
    from kit.train.methods import load_for_training

    first = train(settings("full"), tmp_path, prepared, task_score=None)
    model = load_for_training(settings("full", stage="reward"), first / "golden")
    golden = load_file(first / "golden" / "model.safetensors")
    now = {f"model.{name}": tensor for name, tensor in model.model.state_dict().items()}
    assert now.keys() == golden.keys() - {"lm_head.weight"}
    assert all(torch.equal(golden[name], now[name]) for name in now)
    assert model.score.weight.shape == (1, 64)
