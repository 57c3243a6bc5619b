"""Learning from preferences: what is learned, from what, against what reference."""

import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch
from train_world import dialogue, losses_of, refusal, same_end, write_labelled, write_preferences

from kit.config.errors import DataError
from kit.config.schema import Config, Model
from kit.config.schema_train import Hardware
from kit.data.answers import render_pair
from kit.data.render import prompt_ids
from kit.models.loading import load_base, load_model, load_tokenizer, load_tuned
from kit.train.examples import load_rows, tokenise
from kit.train.metrics import read_metrics
from kit.train.stages import train

TRAIN = 24


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_preferences(tmp_path_factory.mktemp("pairs"), train=TRAIN, valid=4)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("labelled"), train=TRAIN, valid=4)


def log_probability(model, prompt: list[int], answer: list[int]) -> float:
    """Of an answer after its prompt, token by token, written out."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + answer])).logits[0].float()
    logits = logits[-len(prompt + answer) :]  # those of virtual tokens stand before them
    logs = torch.log_softmax(logits, dim=-1)
    return sum(logs[len(prompt) - 1 + at, token].item() for at, token in enumerate(answer))


def margins(model, tokenizer) -> list[float]:
    """How much likelier each chosen training answer is than its rejected one."""
    found = []
    for number in range(TRAIN):
        good, bad = render_pair(dialogue(number), refusal(number), tokenizer, 256)
        sides = [log_probability(model, one.prompt_ids, one.completion_ids) for one in (good, bad)]
        found.append(sides[0] - sides[1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("stage", ["dpo", "kto", "orpo"])
def test_training_raises_the_chosen_answers_over_the_rejected_ones(
    stage, method, settings, pairs, labelled, tmp_path
):
    config = settings(method, stage=stage, num_train_epochs=3)
    prepared = labelled if stage == "kto" else pairs
    tokenizer = load_tokenizer(config.model)
    before = margins(load_base(config), tokenizer)

    run = train(config, tmp_path, prepared, task_score=None)
    after = margins(load_tuned(run / "golden", config), tokenizer)
    assert all(late > early for early, late in zip(before, after, strict=True))
    assert sum(after) / TRAIN > sum(before) / TRAIN + 1

    evaluations = [line for line in read_metrics(run) if line["kind"] == "eval"]
    assert evaluations[-1]["reward_margin"] > evaluations[0]["reward_margin"] > 0


def trainer_of(config: Config, prepared: Path, run: Path):
    """A trainer before its first step, its adapter (or all of it) moved away from the base."""
    from kit.train.setup import make_trainer

    tokenizer = load_tokenizer(config.model)
    rows = {split: load_rows(prepared, split, config.train.stage) for split in ("train", "valid")}
    examples = {split: tokenise(rows[split], tokenizer, config) for split in rows}
    (run / "checkpoints").mkdir(parents=True)
    trainer, _ = make_trainer(config, run, examples, tokenizer, None, None, "")
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    return trainer


def ratios(trainer, config: Config, rows: list[tuple[list[int], list[int]]]) -> torch.Tensor:
    """Log probability of each answer under the model as it is now, less that under the base."""
    base, now = load_base(config), trainer.model.eval()
    return torch.tensor([log_probability(now, *row) - log_probability(base, *row) for row in rows])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "method"),
    [(loss, method) for loss in ("sigmoid", "ipo", "robust") for method in ("full", "lora")]
    + [("sigmoid", method) for method in ("prefix", "prompt", "oft")],
)
def test_the_loss_of_a_batch_of_pairs_is_the_formula(
    loss, method, settings, pairs, tmp_path, exact_arithmetic
):
    smoothing = 0.1 if loss == "robust" else 0.0
    preference = {"beta": 0.3, "loss_type": [loss], "label_smoothing": smoothing}
    config = settings(method, stage="dpo", preference=preference)
    trainer = trainer_of(config, pairs, tmp_path / "run")
    examples = [trainer.train_dataset[number] for number in range(5)]
    found = trainer.compute_loss(trainer.model.eval(), trainer.data_collator(examples)).item()

    chosen = ratios(trainer, config, [(one["prompt_ids"], one["chosen_ids"]) for one in examples])
    rejected = ratios(trainer, config, [(one["prompt_ids"], one["rejected_ids"]) for one in examples])
    assert (chosen - rejected).abs().max() > 0.1  # else the formula would say log 2 whatever the reference
    ahead = torch.sigmoid(0.3 * (chosen - rejected)).log()
    if loss == "sigmoid":  # Rafailov et al. 2023, eq. 7
        expected = -ahead
    elif loss == "robust":  # Chowdhury et al. 2024, eq. 9
        behind = torch.sigmoid(-0.3 * (chosen - rejected)).log()
        expected = (-(1 - smoothing) * ahead + smoothing * behind) / (1 - 2 * smoothing)
    else:  # Azar et al. 2024, eq. 17, by tokens
        sizes = [
            torch.tensor([len(one[side]) for one in examples]) for side in ("chosen_ids", "rejected_ids")
        ]
        expected = (chosen / sizes[0] - rejected / sizes[1] - 1 / (2 * 0.3)) ** 2
    assert found == pytest.approx(expected.mean().item(), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("loss", ["orpo", "simpo"])
def test_the_loss_without_a_reference_is_the_formula(
    loss, method, settings, pairs, tmp_path, exact_arithmetic
):
    own = {"loss_type": ["simpo"], "simpo_gamma": 0.8} if loss == "simpo" else {"beta": 0.3}
    config = settings(method, stage="orpo" if loss == "orpo" else "dpo", preference=own)
    trainer = trainer_of(config, pairs, tmp_path / "run")
    examples = [trainer.train_dataset[number] for number in range(5)]
    model = trainer.model.eval()
    found = trainer.compute_loss(model, trainer.data_collator(examples)).item()
    assert trainer.ref_model is None

    expected = []
    for one in examples:
        chosen, rejected = (
            log_probability(model, one["prompt_ids"], one[side]) / len(one[side])
            for side in ("chosen_ids", "rejected_ids")
        )
        if loss == "simpo":  # Meng et al. 2024, eq. 6, with its own beta of 2
            expected.append(math.log1p(math.exp(-(2 * (chosen - rejected) - 0.8))))
            continue
        odds = [math.exp(mean) / (1 - math.exp(mean)) for mean in (chosen, rejected)]
        expected.append(-chosen + 0.3 * math.log1p(odds[1] / odds[0]))  # Hong et al. 2024, eqs. 3 to 7
    assert found == pytest.approx(sum(expected) / 5, rel=1e-4)


@pytest.mark.slow
def test_the_loss_of_a_batch_of_labelled_answers_is_the_formula(
    settings, labelled, tmp_path, exact_arithmetic
):
    preference = {"beta": 0.3, "undesirable_weight": 1.5}
    config = settings("lora", stage="kto", preference=preference)
    trainer = trainer_of(config, labelled, tmp_path / "run")
    examples = [trainer.train_dataset[number] for number in range(5)]
    found = trainer.compute_loss(trainer.model.eval(), trainer.data_collator(examples)).item()

    own = ratios(trainer, config, [(one["prompt_ids"], one["completion_ids"]) for one in examples])
    others = [examples[number - 1]["completion_ids"] for number in range(5)]
    mixed = [(one["prompt_ids"], other) for one, other in zip(examples, others, strict=True)]
    drift = ratios(trainer, config, mixed).mean().clamp(min=0)
    good = torch.tensor([one["label"] for one in examples])
    sign = torch.where(good, 1.0, -1.0)
    expected = torch.where(good, 1.0, 1.5) * (1 - torch.sigmoid(0.3 * sign * (own - drift)))
    assert found == pytest.approx(expected.mean().item(), rel=1e-4)


@pytest.mark.parametrize("stage", ["dpo", "kto"])
def test_what_is_trained_on_is_the_prompt_that_is_served(stage, settings, pairs, labelled):
    config = settings("lora", stage=stage)
    tokenizer = load_tokenizer(config.model)
    rows = load_rows(pairs if stage == "dpo" else labelled, "train", stage)
    for row, example in zip(rows, tokenise(rows, tokenizer, config), strict=True):
        assert example["prompt_ids"] == prompt_ids(row["messages"][:-1], tokenizer)
        sides = ["chosen_ids", "rejected_ids"] if stage == "dpo" else ["completion_ids"]
        answers = [row["messages"][-1], *row.get("rejected", [])]
        for side, answer in zip(sides, answers, strict=True):
            assert tokenizer.decode(example[side]) == f"{answer['content']}<|im_end|>"


@pytest.mark.parametrize("stage", ["dpo", "kto", "orpo"])
def test_data_that_was_prepared_for_another_stage_is_refused(stage, settings, prepared, tmp_path):
    with pytest.raises(DataError, match="from which"):
        train(settings("lora", stage=stage), tmp_path, prepared, task_score=None)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "method"), [("dpo", "lora"), ("kto", "lora"), ("dpo", "full")])
def test_a_continued_run_equals_an_unbroken_one_bit_for_bit(
    stage, method, settings, pairs, labelled, tmp_path
):
    """In full too the reference is the base again, not the checkpoint. It stops between two logged lines."""
    often = {"eval_steps": 2, "save_steps": 100, "logging_steps": 3, "early_stopping_patience": 9}
    config = settings(method, stage=stage, num_train_epochs=2, **often)
    prepared = pairs if stage == "dpo" else labelled
    unbroken = train(config, tmp_path / "a", prepared, InterruptAt(99))
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "b", prepared, InterruptAt(2))
    (run,) = (tmp_path / "b" / "runs").iterdir()
    assert [line["step"] for line in read_metrics(run)][-1] == 4

    train(config, tmp_path / "b", prepared, InterruptAt(99), resume=run)
    same_end(run, unbroken)


@pytest.mark.slow
def test_a_golden_adapter_is_one_adapter_and_its_base_is_untouched(settings, pairs, tmp_path):
    config = settings("lora", stage="dpo", max_steps=2)
    run = train(config, tmp_path, pairs, task_score=None)
    names = {path.name for path in (run / "golden").iterdir()}
    assert "ref" not in names and "adapter_model.safetensors" in names
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["stage"] == "dpo" and manifest["status"] == "finished"
    assert manifest["total_parameters"] - manifest["trainable_parameters"] == sum(
        parameter.numel()
        for parameter in load_model(Model(name=config.model.name), Hardware(device="cpu")).parameters()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "loss"), [("dpo", "sigmoid"), ("dpo", "simpo"), ("orpo", "orpo"), ("kto", "apo_zero_unpaired")]
)
def test_cutting_the_batch_into_passes_changes_nothing_but_rounding(
    stage, loss, settings, pairs, labelled, tmp_path, exact_arithmetic
):
    """Also where passes differ in size: the second step has ten rows, which are seven and three."""
    cut = {"global_batch_size": 14, "preference": {"loss_type": [loss]}, "num_train_epochs": 2}
    runs = [
        train(
            settings("full", stage=stage, per_device_train_batch_size=size, **cut),
            tmp_path / str(size),
            labelled if stage == "kto" else pairs,
            task_score=None,
        )
        for size in (14, 7)
    ]
    assert len(losses_of(runs[0])) == 4
    assert losses_of(runs[1]) == pytest.approx(losses_of(runs[0]), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["orpo", "simpo"])
def test_an_adapter_without_a_reference_hashes_no_weights(loss, settings, pairs, tmp_path, monkeypatch):
    """A hash over a base of many gigabytes takes long, and would name a reference nothing asks for."""
    hashed: list[object] = []
    monkeypatch.setattr("trl.trainer.dpo_trainer.hash_module", hashed.append)
    stage = "orpo" if loss == "orpo" else "dpo"
    config = settings("lora", stage=stage, preference={"loss_type": [loss]}, max_steps=1)
    train(config, tmp_path, pairs, task_score=None)
    assert not hashed


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["dpo", "kto", "orpo"])
def test_recomputing_activations_changes_nothing_but_rounding(
    stage, settings, pairs, labelled, tmp_path, exact_arithmetic
):
    runs = [
        train(
            settings("lora", stage=stage, gradient_checkpointing=on, max_steps=3),
            tmp_path / str(on),
            labelled if stage == "kto" else pairs,
            task_score=None,
        )
        for on in (False, True)
    ]
    assert losses_of(runs[1]) == pytest.approx(losses_of(runs[0]), rel=1e-5)
    assert losses_of(runs[0])[0] != losses_of(runs[0])[-1]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["dpo", "kto"])
def test_a_base_in_four_bits_is_its_own_reference(stage, settings, pairs, labelled, tmp_path):
    pytest.importorskip("bitsandbytes")
    config = settings("qlora", stage=stage, num_train_epochs=2)
    run = train(config, tmp_path, labelled if stage == "kto" else pairs, task_score=None)
    lines = read_metrics(run)
    if stage == "dpo":  # the first step is taken at the reference
        assert lines[0]["loss"] == pytest.approx(math.log(2), abs=2e-3)
    assert [line["reward_margin"] for line in lines if line["kind"] == "eval"][-1] > 0


@pytest.mark.slow
def test_a_loss_that_is_no_number_leaves_its_pairs(settings, pairs, tmp_path, monkeypatch):
    from kit.config.errors import InvalidRunError
    from kit.train.preference import PairTrainer

    config = settings("full", stage="dpo")
    broken = lambda self, model, inputs, *rest, **named: next(model.parameters()).sum() * float("nan")  # noqa: E731
    monkeypatch.setattr(PairTrainer, "compute_loss", broken)
    with pytest.raises(InvalidRunError, match="no number"):
        train(config, tmp_path, pairs, task_score=None)
    (run,) = (tmp_path / "runs").iterdir()
    left = json.loads((run / "broken_batch.json").read_text())
    assert "Where is my order" in left["text"][0] and len(left["completion_mask"]) == 16


class InterruptAt:
    """A task score that presses Ctrl-C while it is asked for the n-th time."""

    def __init__(self, evaluation: int) -> None:
        self.left = evaluation

    def __call__(self, model: object, tokenizer: object) -> float:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return 0.5
