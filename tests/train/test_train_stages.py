"""What a run does, as its user meets it: files, curves, choices, errors."""

import json
import math
from pathlib import Path

import pytest
from train_world import losses_of, write_prepared

from kit.config.errors import DataError, InvalidRunError
from kit.config.schema import Config
from kit.models.loading import load_tokenizer
from kit.train.examples import tokenise
from kit.train.metrics import read_metrics
from kit.train.stages import train

pytestmark = pytest.mark.slow


def test_lora_trains_a_small_share_and_full_trains_everything(settings, prepared, tmp_path):
    shares = {}
    for method in ("lora", "full"):
        run = train(settings(method, max_steps=1), tmp_path, prepared, task_score=None)
        manifest = json.loads((run / "manifest.json").read_text())
        shares[method] = manifest["trainable_parameters"] / manifest["total_parameters"]
    assert shares["full"] == 1.0
    assert 0 < shares["lora"] < 0.2


def test_the_seeds_profile_runs_as_it_stands(base, prepared, tmp_path):
    config = Config.model_validate(
        {
            "model": {"name": str(base), "max_length": 256},
            "hardware": {"num_threads": 1},
            "tracking": {"report_to": []},
        }
    )
    assert (config.train.learning_rate, config.train.global_batch_size, config.method.rank) == (3e-5, 32, 8)
    run = train(config, tmp_path, prepared, task_score=None)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["steps"] == 10  # 48 rows are two steps of 32 an epoch, five epochs


def test_manifest_and_folder_follow_the_contract(settings, prepared, tmp_path):
    run = train(settings(), tmp_path, prepared, task_score=None)
    assert sorted(path.name for path in run.iterdir()) == [
        "checkpoints",
        "config.yaml",
        "golden",
        "lock",
        "manifest.json",
        "metrics.jsonl",
    ]
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["run"] == run.name and run.name.endswith("-sft-full")
    assert manifest["status"] == "finished"
    assert manifest["data"]["fingerprint"] == "48-8"
    assert manifest["golden"]["step"] in (3, 6)
    assert manifest["steps"] == 6
    assert manifest["loss"]["first"] > manifest["loss"]["last"]
    assert {"python", "platform", "packages", "device", "kit_commit"} <= manifest["environment"].keys()
    kinds = [line["kind"] for line in read_metrics(run)]
    assert kinds.count("train") == 6 and kinds.count("eval") == 2
    first = read_metrics(run)[0]
    names = {"step", "epoch", "kind", "loss", "learning_rate", "grad_norm"}
    assert set(first) == names | {"tokens_per_second", "memory_gib", "memory_share"}
    assert first["tokens_per_second"] > 0


def test_the_golden_checkpoint_is_the_best_by_task_score_not_by_loss(settings, prepared, tmp_path):
    scores = iter([0.2, 0.9, 0.4])

    def task_score(model: object, tokenizer: object) -> float:
        return next(scores)

    run = train(settings(num_train_epochs=2, eval_steps=4), tmp_path, prepared, task_score)
    evaluations = [line for line in read_metrics(run) if line["kind"] == "eval"]
    assert [line["task_score"] for line in evaluations] == [0.2, 0.9, 0.4]
    assert min(evaluations, key=lambda line: line["eval_loss"])["step"] == 12
    golden = json.loads((run / "golden" / "golden.json").read_text())
    assert (golden["step"], golden["score"]) == (8, 0.9)


def test_checkpoints_that_score_alike_are_told_apart_by_validation_loss(settings, prepared, tmp_path):
    run = train(settings(num_train_epochs=2, eval_steps=4), tmp_path, prepared, lambda model, words: 1.0)
    evaluations = [line for line in read_metrics(run) if line["kind"] == "eval"]
    lowest = min(evaluations, key=lambda line: line["eval_loss"])
    assert lowest["step"] > evaluations[0]["step"]
    golden = json.loads((run / "golden" / "golden.json").read_text())
    assert (golden["step"], golden["score"]) == (lowest["step"], 1.0)


def test_the_task_score_sees_the_model_being_trained_and_does_not_disturb_it(settings, prepared, tmp_path):
    import torch

    seen = []

    def nosy(model: torch.nn.Module, tokenizer: object) -> float:
        torch.rand(7)
        assert not model.training
        seen.append(next(model.parameters()).detach().clone())
        return 0.0

    watched = train(settings(), tmp_path / "a", prepared, nosy)
    alone = train(settings(), tmp_path / "b", prepared, None)
    assert not torch.equal(seen[0], seen[1])
    assert losses_of(watched) == losses_of(alone)


def test_it_stops_after_three_evaluations_without_a_better_score(settings, prepared, tmp_path):
    scores = iter([0.5, 0.4, 0.45, 0.3, 0.9])
    run = train(
        settings(num_train_epochs=5, eval_steps=2), tmp_path, prepared, lambda model, tokenizer: next(scores)
    )
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["stopped_early"] and manifest["status"] == "finished"
    assert manifest["steps"] == 8  # the fourth evaluation is the third without a better score
    assert manifest["golden"]["step"] == 2


def test_a_score_that_stands_still_stops_the_run_though_the_loss_falls(settings, prepared, tmp_path):
    config = settings(num_train_epochs=5, eval_steps=2)
    run = train(config, tmp_path, prepared, lambda model, tokenizer: 1.0)
    losses = [line["eval_loss"] for line in read_metrics(run) if line["kind"] == "eval"]
    assert losses == sorted(losses, reverse=True) and len(set(losses)) == 4, "the loss fell every time"
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["stopped_early"] and manifest["steps"] == 8
    assert manifest["golden"]["step"] == 8, "among equal scores the lowest loss is golden"


def test_a_run_shorter_than_an_evaluation_still_has_a_golden_checkpoint(settings, prepared, tmp_path):
    run = train(
        settings(max_steps=2, eval_steps=100, save_steps=100, logging_steps=50), tmp_path, prepared, None
    )
    assert json.loads((run / "golden" / "golden.json").read_text())["step"] == 2
    assert len(losses_of(run)) == 1


def test_without_validation_rows_the_last_step_is_golden_and_says_so(settings, tmp_path):
    data = write_prepared(tmp_path / "data", train=16, valid=0)
    run = train(settings(), tmp_path, data, None)
    golden = json.loads((run / "golden" / "golden.json").read_text())
    assert (golden["step"], golden["score"]) == (2, None)
    assert "no validation rows" in golden["metric"]


def test_only_what_the_assistant_says_is_learned_in_sft_and_everything_in_pretraining(settings, base):
    messages = [{"role": "user", "content": "hello you"}, {"role": "assistant", "content": "well met"}]
    config = settings()
    tokenizer = load_tokenizer(config.model)
    (sft,) = tokenise([{"messages": messages}], tokenizer, config)
    learned = tokenizer.decode([label for label in sft["labels"] if label != -100])
    assert learned == "well met<|im_end|>"
    (pretrain,) = tokenise([{"messages": messages}], tokenizer, settings(stage="pretrain"))
    assert pretrain["labels"] == pretrain["input_ids"] == sft["input_ids"]


def test_masked_tokens_do_not_move_the_weights(settings, tmp_path):
    """The same answers after other questions: only the answers' labels may count towards the loss."""
    import torch

    from kit.train.setup import make_trainer
    from kit.train.trainer import CausalTrainer

    config = settings()
    tokenizer = load_tokenizer(config.model)
    messages = [{"role": "user", "content": "hello you"}, {"role": "assistant", "content": "well met"}]
    examples = tokenise([{"messages": messages}] * 8, tokenizer, config)
    (tmp_path / "run").mkdir()
    trainer, _ = make_trainer(
        config, tmp_path / "run", {"train": examples, "valid": []}, tokenizer, None, None, "base"
    )
    assert isinstance(trainer, CausalTrainer)
    batch = next(iter(trainer.get_train_dataloader()))
    row, labels = batch["input_ids"][:1], batch["labels"][:1]
    with torch.no_grad():
        found = float(trainer.compute_loss(trainer.model, dict(batch)))
        logits = trainer.model(input_ids=row).logits[0].log_softmax(-1)
    wanted = [-logits[at - 1, labels[0, at]] for at in range(1, row.shape[1]) if labels[0, at] != -100]
    assert len(wanted) < row.shape[1] / 2
    assert found == pytest.approx(float(sum(wanted) / len(wanted)), rel=1e-4)


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_the_loss_head_of_gpus_gives_the_same_loss(method, settings, tmp_path, exact_arithmetic):
    """On a GPU TRL's head scores labelled positions in tiles; here both are asked about one batch."""
    import torch
    from trl import SFTTrainer

    from kit.train.setup import make_trainer

    config = settings(method)
    tokenizer = load_tokenizer(config.model)
    messages = [{"role": "user", "content": "hello you"}, {"role": "assistant", "content": "well met"}]
    examples = {"train": tokenise([{"messages": messages}] * 8, tokenizer, config), "valid": []}
    (tmp_path / "run").mkdir()
    trainer, _ = make_trainer(config, tmp_path / "run", examples, tokenizer, None, None, "base")
    batch = next(iter(trainer.get_train_dataloader()))
    with torch.no_grad():
        ours = float(trainer.compute_loss(trainer.model, dict(batch)))
        theirs = float(SFTTrainer.compute_loss(trainer, trainer.model, dict(batch)))
    assert theirs == pytest.approx(ours, rel=1e-4)


def test_accumulating_gradients_changes_nothing(settings, prepared, tmp_path, exact_arithmetic):
    whole = train(settings(per_device_train_batch_size=8), tmp_path / "a", prepared, None)
    parts = train(settings(per_device_train_batch_size=2), tmp_path / "b", prepared, None)
    assert losses_of(parts) == pytest.approx(losses_of(whole), abs=2e-4)
    rates = [
        [line["grad_norm"] for line in read_metrics(run) if line["kind"] == "train"] for run in (whole, parts)
    ]
    assert rates[1] == pytest.approx(rates[0], rel=5e-3)


def test_a_broken_loss_ends_the_run_and_leaves_its_batch(settings, prepared, tmp_path, monkeypatch):
    from transformers import Trainer

    original = Trainer.compute_loss

    def broken(self, *args, **kwargs):
        loss = original(self, *args, **kwargs)
        return loss * math.nan if self.state.global_step == 2 else loss

    monkeypatch.setattr(Trainer, "compute_loss", broken)
    with pytest.raises(InvalidRunError, match="step 3 is no number") as caught:
        train(settings(), tmp_path, prepared, None)
    assert caught.value.exit_code == 4
    (run,) = (tmp_path / "runs").iterdir()
    assert json.loads((run / "manifest.json").read_text())["status"] == "failed"
    broken_batch = json.loads((run / "broken_batch.json").read_text())
    assert broken_batch["step"] == 3 and "Where is my order" in broken_batch["text"][0]


def test_unprepared_data_names_the_command_that_prepares_it(settings, tmp_path):
    with pytest.raises(DataError, match="casekit data prepare"):
        train(settings(), tmp_path, tmp_path / "nothing", None)


def test_the_terminal_shows_our_lines_only(settings, prepared, tmp_path, capfd: pytest.CaptureFixture[str]):
    run = train(settings("lora", learning_rate=3e-5), tmp_path, prepared, None)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.replace("\n", " ").startswith(run.name + ": sft of")
    assert len(err.splitlines()) <= 5 and "parameters" in err and "the longest batches fit" in err


def test_a_rate_outside_the_usual_band_is_advice_but_for_small_models(
    settings, prepared, tmp_path, capfd, monkeypatch
):
    train(settings("lora", learning_rate=2e-3, max_steps=1), tmp_path, prepared, None)
    assert "advice" not in capfd.readouterr().err, "60 thousand parameters, given as a folder"
    monkeypatch.setattr("kit.train.rates.SMALL", 0)
    train(settings("lora", learning_rate=2e-3, max_steps=1), tmp_path, prepared, None)
    assert "advice: learning rate 0.002 is above the usual 3e-05 to 0.0001" in " ".join(
        capfd.readouterr().err.split()
    )


def test_it_is_the_projects_settings_that_are_saved(settings, prepared, tmp_path: Path):
    import yaml

    config = settings(max_steps=1)
    run = train(config, tmp_path, prepared, None)
    assert Config.model_validate(yaml.safe_load((run / "config.yaml").read_text())) == config
