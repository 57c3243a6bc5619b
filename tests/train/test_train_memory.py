"""Memory that runs out: found before the first step, met with smaller passes, and the results stay the same.

On a CPU it does not run out by itself: here the model refuses passes above a size, as a GPU would.
"""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from train_world import losses_of, weights_of, write_preferences, write_prepared
from transformers import Qwen3Model

from kit.config.errors import ModelError
from kit.memory import Memory, memory_now, ran_out
from kit.models.loading import load_tokenizer
from kit.train import watch
from kit.train.examples import tokenise
from kit.train.guard import GuardedTrainer
from kit.train.metrics import read_metrics
from kit.train.passes import PassSize
from kit.train.setup import make_trainer
from kit.train.stages import train

pytestmark = pytest.mark.slow


@pytest.fixture
def holds(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], bool]], list[tuple[int, int]]]:
    """Let the model take those inputs only that a condition is true of; the shapes that it was given."""

    def limit(fits: Callable[[torch.Tensor], bool]) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []
        original = Qwen3Model.forward

        def forward(self: Any, input_ids: Any = None, **kwargs: Any) -> Any:
            seen.append(tuple(input_ids.shape))
            if not fits(input_ids):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return original(self, input_ids=input_ids, **kwargs)

        monkeypatch.setattr(Qwen3Model, "forward", forward)
        return seen

    return limit


def manifest_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "manifest.json").read_text())


def events(run: Path, name: str) -> list[dict[str, Any]]:
    return [line for line in read_metrics(run) if line["kind"] == "event" and line["event"] == name]


@pytest.mark.parametrize(("method", "more"), [("lora", {}), ("full", {"packing": True})])
def test_the_trial_leaves_no_trace(method, more, settings, prepared, tmp_path, monkeypatch):
    """Bit for bit the same weights; with dropout, so that random numbers count."""
    config = settings(method, max_steps=3, **more)
    if method == "lora":
        config = config.model_copy(update={"method": config.method.model_copy(update={"dropout": 0.2})})
    tried = train(config, tmp_path / "tried", prepared, None)
    assert manifest_of(tried)["probe"]["train"]["rows"] == (1 if more else 8)
    monkeypatch.setattr(watch, "probe", lambda trainer, config: {"memory_share": 0.0})
    untried = train(config, tmp_path / "untried", prepared, None)
    assert weights_of(tried) == weights_of(untried)
    assert losses_of(tried) == losses_of(untried)
    optimizers = [
        torch.load(run / "checkpoints" / "checkpoint-3" / "optimizer.pt", weights_only=True)["state"]
        for run in (tried, untried)
    ]
    assert all(
        torch.equal(one[name], other[name])
        for one, other in zip(optimizers[0].values(), optimizers[1].values(), strict=True)
        for name in one
    )


def test_the_trial_runs_the_longest_rows_of_both_splits(settings, tmp_path, holds):
    prepared = write_prepared(tmp_path / "data", train=12, valid=4)
    seen = holds(lambda ids: True)
    run = train(settings(per_device_train_batch_size=4, max_steps=1), tmp_path, prepared, None)
    probe = manifest_of(run)["probe"]
    trained, validated = seen[0], seen[1]
    assert (probe["train"]["rows"], probe["train"]["tokens"]) == trained
    assert (probe["validation"]["rows"], probe["validation"]["tokens"]) == validated
    assert trained[1] == max(shape[1] for shape in seen), "no later pass is longer"
    assert trained[0] == 4 and validated[0] == 4, "of 16 rows a validation pass there are four"
    assert 0 < probe["memory_share"] < 1 and probe["answers"] is None


def test_the_validation_loss_is_the_same_in_batches_of_any_size(settings, tmp_path, exact_arithmetic):
    texts = ["Yes.", "Your order is on its way, and will be there tomorrow."]  # a few labels, and many
    turns = [("user", "Where is my order?"), ("assistant", "")]
    rows = [
        {"messages": [{"role": role, "content": said or texts[number % 2]} for role, said in turns]}
        for number in range(7)
    ]
    found = []
    for size in (1, 3, 16):
        config = settings(per_device_eval_batch_size=size)
        tokenizer = load_tokenizer(config.model)
        examples = tokenise(rows, tokenizer, config)
        run = tmp_path / str(size)
        run.mkdir()
        trainer, _ = make_trainer(
            config, run, {"train": examples, "valid": examples}, tokenizer, None, None, "base"
        )
        found.append(trainer.evaluate()["eval_loss"])
    assert found[0] > 0 and found[1:] == pytest.approx([found[0]] * 2, rel=1e-6)


def test_passes_are_halved_before_the_first_step_and_nothing_else_changes(
    settings, prepared, tmp_path, holds, exact_arithmetic, capfd
):
    config = settings(max_steps=3)
    free = train(config, tmp_path / "a", prepared, None)
    seen = holds(lambda ids: len(ids) <= 2)
    tight = train(config, tmp_path / "b", prepared, None)
    assert losses_of(tight) == pytest.approx(losses_of(free), abs=2e-4)
    before, after = ([line for line in read_metrics(run) if line["kind"] == "eval"] for run in (free, tight))
    assert after[0]["eval_loss"] == pytest.approx(before[0]["eval_loss"], abs=2e-4)
    batch = manifest_of(tight)["batch"]
    assert (batch["rows"], batch["accumulation"], batch["eval_rows"]) == (2, 4, 2)
    assert batch["asked"] == {"rows": 8, "tokens": None, "eval_rows": 16} and batch["since_step"] == 0
    assert [rows for rows, _ in seen[:3]] == [8, 4, 2], "halved in the trial"
    assert all(rows <= 2 for rows, _ in seen[8:]), "and never tried again"
    said = " ".join(capfd.readouterr().err.split())
    assert "going on with 2 of 8 rows a pass and 4 passes a step; the global batch stays 8" in said
    assert manifest_of(free)["batch"] is None


def test_a_resumed_run_takes_the_smaller_passes_up_again(settings, prepared, tmp_path, holds):
    seen = holds(lambda ids: len(ids) <= 4)

    def stop(model: object, tokenizer: object) -> float:
        raise RuntimeError("the machine went down")

    with pytest.raises(RuntimeError, match="went down"):
        train(settings(), tmp_path, prepared, stop)
    (run,) = (tmp_path / "runs").iterdir()
    del seen[:]
    train(settings(), tmp_path, prepared, lambda model, tokenizer: 0.5, resume=run)
    assert max(rows for rows, _ in seen) == 4, "eight rows are not tried a second time"
    assert manifest_of(run)["batch"]["rows"] == 4 and manifest_of(run)["status"] == "finished"


def test_packed_rows_are_shortened_but_hold_the_longest_sample(
    settings, prepared, tmp_path, holds, exact_arithmetic
):
    packed = settings(packing=True, max_steps=2, per_device_eval_batch_size=2)
    free = train(packed, tmp_path / "a", prepared, None)
    seen = holds(lambda ids: ids.numel() <= 160)
    tight = train(packed, tmp_path / "b", prepared, None)
    filled = [shape for shape in seen if shape[1] > 160]
    assert filled == [(1, 256)], "the one row that is tried is filled to the last token"
    assert manifest_of(tight)["batch"]["tokens"] == 128
    assert losses_of(tight) == pytest.approx(losses_of(free), abs=2e-4)


def test_pairs_keep_both_sides_together(settings, tmp_path, holds, exact_arithmetic):
    pairs = write_preferences(tmp_path / "pairs", train=16, valid=4)
    config = settings("lora", stage="dpo", max_steps=2, learning_rate=1e-2)
    free = train(config, tmp_path / "a", pairs, None)
    holds(lambda ids: len(ids) <= 4)  # two pairs
    tight = train(config, tmp_path / "b", pairs, None)
    assert manifest_of(tight)["batch"]["rows"] == 2
    first, second = ([line for line in read_metrics(run) if line["kind"] == "train"] for run in (free, tight))
    for name in ("loss", "reward_margin", "reward_accuracy", "grad_norm"):
        assert [one[name] for one in second] == pytest.approx([one[name] for one in first], abs=2e-3), name


def test_memory_that_runs_out_in_a_step_does_that_step_again(
    settings, prepared, tmp_path, holds, exact_arithmetic
):
    """In its second pass, when the first has left its gradient already."""
    config = settings("lora", per_device_train_batch_size=4, max_steps=4, eval_steps=100)
    free = train(config, tmp_path / "a", prepared, None)
    passes: list[int] = []

    def fits(ids: torch.Tensor) -> bool:
        passes.append(len(ids))
        return len(passes) != 8  # two in the trial, two a step: the second of the third step

    holds(fits)
    tight = train(config, tmp_path / "b", prepared, None)
    assert passes[7] == 4 and passes[8:10] == [2, 2], "the first half of the step is done again, in halves"
    assert losses_of(tight) == pytest.approx(losses_of(free), abs=2e-4)
    batch = manifest_of(tight)["batch"]
    assert (batch["rows"], batch["accumulation"], batch["since_step"]) == (2, 4, 2)
    (event,) = events(tight, "memory_ran_out")
    assert event["message"].startswith("memory ran out at step 3: going on with 2 of 4 rows")


def test_a_step_that_is_done_again_is_noted_once(settings, tmp_path, holds, monkeypatch):
    """In its second pass: what the first has noted is not noted a second time."""
    pairs = write_preferences(tmp_path / "pairs", train=16, valid=4)
    config = settings(
        "lora", stage="dpo", per_device_train_batch_size=4, max_steps=2, save_steps=1, logging_steps=100
    )

    def owed(run: Path) -> tuple[list[float], int]:
        pending = json.loads((run / "checkpoints" / "checkpoint-1" / "pending.json").read_text())
        return pending["noted"]["rewards/margins"], pending["tokens"]

    free, tokens = owed(train(config, tmp_path / "a", pairs, None))
    begun: list[int] = []
    original = GuardedTrainer.get_batch_samples

    def begin(self: Any, *args: Any) -> Any:
        begun.append(1)
        return original(self, *args)

    def fits(ids: torch.Tensor) -> bool:  # a pass is two: the model and its reference
        if len(begun) != 1:
            return True
        passes.append(len(ids))
        return len(passes) != 3

    passes: list[int] = []
    monkeypatch.setattr(GuardedTrainer, "get_batch_samples", begin)
    holds(fits)
    tight, counted = owed(train(config, tmp_path / "b", pairs, None))
    assert passes[:4] == [8, 8, 8, 4], "it ran out in the second pass"
    assert (len(free), len(tight)) == (2, 4) and counted == tokens


def test_validation_that_goes_through_whole_is_not_tried_again():
    size = PassSize(rows=8, tokens=None, eval_rows=8)
    trainer: Any = SimpleNamespace(
        cuts=False, size=size, smaller=pytest.fail, no_room=lambda batch, validating: ModelError("no room")
    )
    with pytest.raises(ModelError, match="no room"):
        GuardedTrainer.make_smaller(trainer, [], validating=True)
    assert size.eval_rows == 8


def test_one_row_that_does_not_fit_is_refused_with_what_helps(settings, prepared, tmp_path, holds):
    holds(lambda ids: False)
    with pytest.raises(ModelError) as caught:
        train(settings("lora"), tmp_path, prepared, None)
    assert caught.value.exit_code == 2
    said = str(caught.value)
    assert "does not hold one row of" in said and "GiB are taken" in said
    ways = [said.index(way) for way in ("gradient_checkpointing=true", "model.max_length", "method=qlora")]
    assert ways == sorted(ways)
    (run,) = (tmp_path / "runs").iterdir()
    assert manifest_of(run)["status"] == "failed" and not list((run / "checkpoints").glob("*"))
    config = settings("qlora", gradient_checkpointing=True)
    said = str(watch.no_memory(config, 100, torch.device("cpu")))
    assert "gradient_checkpointing" not in said and "qlora" not in said, "what is on already is no advice"
    assert "per_device_train_batch_size` below" not in said


def test_a_packed_row_of_several_sequences_may_be_made_shorter_without_cutting_any(settings):
    """As on a GPU, where a model is shared out and passes cannot be halved."""
    config = settings("lora", packing=True)
    said = str(watch.no_memory(config, 8 * 256, torch.device("cpu")))
    assert said.index("per_device_train_batch_size` below 8") < said.index("`model.max_length` below 256")
    said = str(watch.no_memory(config, 8 * 256, torch.device("cpu"), "answering"))
    assert "per_device_train_batch_size` below" not in said and "`model.max_length` below 2,048" in said


def test_memory_that_runs_out_between_passes_is_explained(settings, prepared, tmp_path, monkeypatch):
    def full(self, *args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("transformers.Trainer._clip_grad_norm", full)
    with pytest.raises(ModelError, match="ran out between two passes"):
        train(settings("lora", max_steps=1), tmp_path, prepared, None)


def test_answers_are_tried_at_their_longest_and_halved(settings, prepared, tmp_path, holds):
    class Score:
        prompts = 8

        def longest(self, tokenizer: object) -> int:
            return 200

        def __call__(self, model: object, tokenizer: object) -> float:
            return 0.5

    score = Score()
    seen = holds(lambda ids: ids.shape[1] < 200 or len(ids) <= 2)
    run = train(settings(max_steps=1), tmp_path, prepared, score)
    assert [shape for shape in seen if shape[1] == 200] == [(8, 200), (4, 200), (2, 200)]
    assert manifest_of(run)["probe"]["answers"] == {"prompts": 2, "tokens": 200}
    assert score.prompts == 2, "and so many are asked at once"


def test_memory_above_the_alarm_is_a_finding_with_the_headroom_shown(
    settings, prepared, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr(watch, "memory_now", lambda on: Memory(used=9 * 2**30, capacity=10 * 2**30))
    monkeypatch.setattr("kit.train.probe.memory_now", lambda on: Memory(used=9 * 2**30, capacity=10 * 2**30))
    run = train(settings(max_steps=3), tmp_path, prepared, None)
    (event,) = events(run, "memory")
    assert event["message"] == "memory is 90% full, 9.0 of 10.0 GiB" and event["step"] == 1
    assert manifest_of(run)["memory_peak"] == {"gib": 9.0, "share": 0.9}
    said = " ".join(capfd.readouterr().err.split())
    assert "memory 90%, 1.0 GiB above the alarm at 80%" in said
    assert said.count("memory is 90% full") == 1


def test_a_containers_limit_is_the_memory_there_is(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text(f"{3 * 2**30}\n")
    (tmp_path / "memory.current").write_text(f"{2 * 2**30}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {2**29}\nactive_file 7\n")
    monkeypatch.setattr("kit.memory._CGROUPS", ((tmp_path, "memory.max", "memory.current", "inactive_file"),))
    here = memory_now(torch.device("cpu"))
    assert here.capacity - here.used == 2**30 + 2**29, "files that it would drop are no load"
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_now(torch.device("cpu")).capacity > 3 * 2**30


def test_a_gpus_memory_is_what_torch_has_reserved_of_all(monkeypatch):
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda on: 60)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda on: SimpleNamespace(total_memory=80))
    assert memory_now(torch.device("cuda")).share == 0.75


def test_only_want_of_memory_is_taken_for_it():
    assert ran_out(torch.OutOfMemoryError("x"))
    assert ran_out(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert ran_out(RuntimeError("CUDA error: out of memory"))
    assert ran_out(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert not ran_out(RuntimeError("size mismatch")) and not ran_out(ValueError("can't allocate memory"))
