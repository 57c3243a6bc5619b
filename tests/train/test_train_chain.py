"""Stages in turn: each run begins exactly where the golden checkpoint of the one before stands."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from train_chain_project import dialogues_of, pairs_of, write_lines
from train_project import loaded
from train_world import dialogue, refusal, weights_of

from kit import pipeline
from kit.config import load_config
from kit.config.errors import ConfigError, DataError, InvalidRunError, Terminated
from kit.data.answers import render_pair
from kit.data.prepared import find_prepared
from kit.hooks import load_hooks
from kit.models.loading import load_base, load_tokenizer, load_tuned, model_folder, weights_sha256
from kit.train.examples import load_rows, tokenise
from kit.train.methods import load_for_training, of_reference
from kit.train.recorder import Recorder
from kit.train.runs import list_runs
from kit.train.saving import ResumableTrainer

pytestmark = pytest.mark.slow

PROJECT = """
model: {{name: {base}, max_length: 256}}
method: {method}
data:
  sources: [{{path: rows.jsonl}}, {{path: pairs.jsonl}}]
  split: {{column: split}}
train:
  stages: [sft, {{name: dpo, learning_rate: 1e-3, max_steps: 4}}]
  learning_rate: 3e-3
  max_steps: 4
  global_batch_size: 8
  eval_steps: 2
  save_steps: 2
  logging_steps: 1
hardware: {{num_threads: 1}}
tracking: {{report_to: []}}
"""


def write_project(root: Path, base: Path, method: str) -> Path:
    """A prepared project with dialogues for one stage and pairs for the other."""
    (root / "conf").mkdir(parents=True)
    (root / "conf" / "project.yaml").write_text(PROJECT.format(base=base, method=method))
    splits = ["train"] * 32 + ["valid"] * 4 + ["test"] * 4
    write_lines(root / "rows.jsonl", dialogues_of(splits))
    write_lines(root / "pairs.jsonl", pairs_of(splits))
    pipeline.prepare(load_config(root))
    return root


@pytest.fixture(scope="module")
def chains(base: Path, tmp_path_factory: pytest.TempPathFactory):
    """From a method to a project with both runs of its chain, trained once."""
    made: dict[str, tuple[Path, list[Path]]] = {}

    def of(method: str) -> tuple[Path, list[Path]]:
        if method not in made:
            project = write_project(tmp_path_factory.mktemp("chain") / "project", base, method)
            last = pipeline.train(loaded(project))
            runs = list_runs(project)
            assert last == runs[-1]
            made[method] = project, runs
        return made[method]

    return of


def manifest_of(run: Path) -> dict:
    return json.loads((run / "manifest.json").read_text())


def trainer_of_second(project: Path, golden: Path, folder: Path, stage: str = "dpo", method: str = ""):
    """The trainer of stage two before its first step.

    Args:
        method: in place of the project's.
    """
    from kit.train.setup import make_trainer

    config = loaded(project, *([f"method={method}"] if method else [])).of_stage(1).config
    tokenizer = load_tokenizer(config.model)
    prepared = find_prepared(loaded(project).config, project, load_hooks(project), tokenizer)
    rows = {split: load_rows(prepared, split, "dpo") for split in ("train", "valid")}
    examples = {split: tokenise(rows[split], tokenizer, config) for split in rows}
    config = config.model_copy(update={"train": config.train.model_copy(update={"stage": stage})})
    if stage == "kto":
        for split, pairs in examples.items():
            labels = {"label": True}
            examples[split] = [{**one, "completion_ids": one["chosen_ids"], **labels} for one in pairs]
    (folder / "checkpoints").mkdir(parents=True)
    trainer, _ = make_trainer(config, folder, examples, tokenizer, None, None, "", golden)
    return trainer, config


def log_probabilities(model, tokenizer, number: int) -> torch.Tensor:
    """Of the tokens of both answers of a pair."""
    found = []
    for side in render_pair(dialogue(number), refusal(number), tokenizer, 256):
        ids = torch.tensor([side.input_ids])
        with torch.no_grad():
            logs = model(input_ids=ids).logits[0].float().log_softmax(dim=-1)
        begin = len(side.prompt_ids)
        found.append(logs[range(begin - 1, ids.size(1) - 1), ids[0, begin:]])
    return torch.cat(found)


PISSA = "{name: lora, init_lora_weights: pissa}"
OTHERS = [
    "{name: freeze, num_trainable_layers: 1}",
    "{name: prefix, num_virtual_tokens: 4}",
    "{name: prompt, num_virtual_tokens: 4}",
    "{name: adapter, bottleneck_size: 8}",
    "ia3",
    "oft",
]


@pytest.mark.parametrize("method", ["full", "lora", "qlora", PISSA])
def test_a_stage_begins_at_the_golden_weights_and_refers_to_them(method, chains, tmp_path, monkeypatch):
    if method == "qlora":
        pytest.importorskip("bitsandbytes")
    project, (first, _) = chains(method)
    monkeypatch.setattr("kit.train.setup.mixed_precision", lambda on: None)  # not before: others use the runs
    trainer, config = trainer_of_second(project, first / "golden", tmp_path / "run")
    assert_begins_at(trainer, first / "golden", config, tmp_path / "now")


@pytest.mark.parametrize("method", OTHERS)
def test_so_it_does_with_the_other_methods(method, chains, tmp_path, monkeypatch):
    """The golden checkpoint is a model that was moved, in place of one that was trained."""
    from kit.train.setup import save_model

    project, _ = chains("lora")
    monkeypatch.setattr("kit.train.setup.mixed_precision", lambda on: None)  # not before: others use the runs
    config = loaded(project, f"method={method}").of_stage(0).config
    golden = tmp_path / "golden"
    golden.mkdir()
    base = weights_sha256(model_folder(config.model))
    (golden / "golden.json").write_text(json.dumps({"base_sha256": base}))
    save_model(
        moved(load_for_training(config), 0.2), load_tokenizer(config.model), golden, config, state=None
    )
    trainer, config = trainer_of_second(project, golden, tmp_path / "run", method=method)
    copies = {name for name, _ in trainer.model.named_parameters() if of_reference(name)}
    assert bool(copies) is (config.method.name != "freeze")
    assert_begins_at(trainer, golden, config, tmp_path / "now")


def moved(model, by: float):
    """The model with everything it trains moved, as if it had learned."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += by * torch.randn_like(parameter)
    return model


def assert_begins_at(trainer, golden: Path, config, folder: Path) -> None:
    """Hold its weights to the golden ones tensor by tensor, and its loss to their probabilities."""
    whole = not hasattr(trainer.model, "peft_config")
    trainer.model.save_pretrained(folder, **({} if whole else {"selected_adapters": ["default"]}))
    (weights,) = golden.glob("*.safetensors")
    before, now = load_file(weights), load_file(folder / weights.name)
    assert before.keys() == now.keys() and all(torch.equal(before[name], now[name]) for name in before)

    moved(trainer.model, 0.05)  # a model that has learned something since
    examples = [trainer.train_dataset[number] for number in range(4)]
    found = trainer.compute_loss(trainer.model.eval(), trainer.data_collator(examples)).item()
    golden_model = load_tuned(golden, config)
    base_model = load_base(config)
    ratios, of_base = [], []
    for one in examples:
        sides = [(one["prompt_ids"], one[side]) for side in ("chosen_ids", "rejected_ids")]
        mine, theirs, bases = (
            [_likely(model, *side) for side in sides] for model in (trainer.model, golden_model, base_model)
        )
        ratios.append((mine[0] - mine[1]) - (theirs[0] - theirs[1]))
        of_base.append((mine[0] - mine[1]) - (bases[0] - bases[1]))
    expected, wrong = (
        -torch.sigmoid(0.1 * torch.tensor(each)).log().mean().item() for each in (ratios, of_base)
    )
    assert found == pytest.approx(expected, rel=1e-4)
    assert abs(wrong - expected) > 1e-3  # else the test would pass with the base as the reference


def _likely(model, prompt: list[int], answer: list[int]) -> float:
    with torch.no_grad():
        logs = model(input_ids=torch.tensor([prompt + answer])).logits[0].float().log_softmax(dim=-1)
    return sum(logs[len(prompt) - 1 + at, token].item() for at, token in enumerate(answer))


@pytest.mark.parametrize(("stage", "refers"), [("kto", True), ("orpo", False)])
def test_a_copy_of_the_adapter_is_there_for_losses_that_refer_to_it(stage, refers, chains, tmp_path):
    project, (first, _) = chains("lora")
    trainer, _ = trainer_of_second(project, first / "golden", tmp_path / "run", stage)
    named = dict(trainer.model.named_parameters())
    copies = [name for name in named if ".ref." in name]
    assert bool(copies) is refers and not any(named[name].requires_grad for name in copies)
    golden = load_file(first / "golden" / "adapter_model.safetensors")
    for name in copies:
        assert torch.equal(named[name], golden[name.replace(".ref.", ".")])


@pytest.mark.parametrize("method", ["full", "lora"])
def test_both_runs_say_what_they_are_and_stand_on_the_base(method, chains):
    project, (first, second) = chains(method)
    one, two = manifest_of(first), manifest_of(second)
    assert [one["stage"], two["stage"]] == ["sft", "dpo"]
    assert one["chain"] == {"stages": ["sft", "dpo"], "number": 1} and one["continues"] is None
    assert two["chain"]["number"] == 2 and two["continues"]["run"] == first.name
    assert one["model"] == two["model"] and one["data"]["fingerprint"] == two["data"]["fingerprint"]
    assert (one["steps"], two["steps"]) == (4, 4)
    assert two["total_parameters"] == one["total_parameters"]
    if method == "lora":
        assert not (second / "golden" / "ref").exists()
    for run, rate in ((first, 3e-3), (second, 1e-3)):
        config = pipeline.as_trained(loaded(project), run)
        assert config.train.learning_rate == rate and config.train.stages == []
        tuned, base = load_tuned(run / "golden", config), load_base(config)
        words = load_tokenizer(config.model)
        assert not torch.equal(log_probabilities(tuned, words, 1), log_probabilities(base, words, 1))
        if method == "lora":
            with tuned.disable_adapter():
                assert torch.equal(log_probabilities(tuned, words, 1), log_probabilities(base, words, 1))


def press_ctrl_c(monkeypatch: pytest.MonkeyPatch, project: Path, stage: str, step: int) -> None:
    original = Recorder.on_step_end

    def press(self, args, state, control, **rest):
        if state.global_step == step and f"-{stage}-" in args.output_dir:
            os.kill(os.getpid(), signal.SIGINT)
        original(self, args, state, control, **rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Recorder, "on_step_end", press)
        pipeline.train(loaded(project))


def test_a_signal_in_the_last_save_of_a_stage_lets_no_other_begin(base, tmp_path, monkeypatch):
    project = write_project(tmp_path / "project", base, "lora")
    original = ResumableTrainer._save_checkpoint

    def save(self, *rest):
        if self.state.global_step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        original(self, *rest)

    with monkeypatch.context() as patch, pytest.raises(Terminated):
        patch.setattr(ResumableTrainer, "_save_checkpoint", save)
        pipeline.train(loaded(project))
    (first,) = list_runs(project)
    assert manifest_of(first)["status"] == "finished" and manifest_of(first)["steps"] == 4
    second = pipeline.resume(loaded(project))
    assert list_runs(project) == [first, second], "and it goes on with the next"
    assert manifest_of(second)["continues"]["run"] == first.name


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_chain_that_was_cut_off_in_its_second_stage_ends_bit_for_bit(
    method, chains, base, tmp_path, monkeypatch
):
    """Also the reference is that of the first stage again, not the checkpoint."""
    _, unbroken = chains(method)
    project = write_project(tmp_path / "project", base, method)
    press_ctrl_c(monkeypatch, project, "dpo", 3)
    first, second = list_runs(project)
    assert [manifest_of(run)["status"] for run in (first, second)] == ["finished", "interrupted"]
    assert pipeline.resume(loaded(project)) == second
    for run, other in zip((first, second), unbroken, strict=True):
        assert weights_of(run) == weights_of(other)
    last = "checkpoints/checkpoint-4"
    assert weights_of(second, last) == weights_of(unbroken[1], last)
    with pytest.raises(ConfigError, match="every run is finished"):
        pipeline.resume(loaded(project))


def test_a_chain_that_was_cut_off_in_or_after_its_first_stage_goes_on(chains, base, tmp_path, monkeypatch):
    _, unbroken = chains("lora")
    project = write_project(tmp_path / "project", base, "lora")
    press_ctrl_c(monkeypatch, project, "sft", 3)
    (first,) = list_runs(project)
    last = pipeline.resume(loaded(project))
    assert [manifest_of(run)["stage"] for run in list_runs(project)] == ["sft", "dpo"]
    assert manifest_of(last)["continues"]["run"] == first.name
    assert weights_of(last) == weights_of(unbroken[1])

    shutil.rmtree(last)  # as if the machine had gone down between the two runs
    again = pipeline.resume(loaded(project))
    assert again != first and weights_of(again) == weights_of(unbroken[1])


def test_a_chain_goes_on_only_as_it_began(chains, base, tmp_path, monkeypatch):
    made, _ = chains("lora")
    project = Path(shutil.copytree(made, tmp_path / "project"))
    first, second = list_runs(project)
    shutil.rmtree(second)

    def refusal_of(*words: str) -> str:
        with pytest.raises(ConfigError) as caught:
            pipeline.resume(loaded(project, *words))
        assert list_runs(project) == [first]
        return str(caught.value)

    said = refusal_of("train.stages=[sft, orpo]")
    assert "was ['sft', 'dpo'] when it began and is ['sft', 'orpo'] now" in said
    assert "`train.max_grad_norm` was 1.0 when it was trained and is 0.5 now" in refusal_of(
        "train.max_grad_norm=0.5"
    )
    (first / "golden" / "golden.json").unlink()
    assert "has no golden checkpoint" in refusal_of()


def test_a_golden_checkpoint_that_was_changed_ends_the_resume(chains, base, tmp_path, monkeypatch):
    project = write_project(tmp_path / "project", base, "lora")
    press_ctrl_c(monkeypatch, project, "dpo", 3)
    first, second = list_runs(project)
    (weights,) = (first / "golden").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(InvalidRunError) as caught:
        pipeline.resume(loaded(project))
    assert manifest_of(second)["continues"]["sha256"] in str(caught.value) and caught.value.exit_code == 4


def test_a_first_stage_that_refers_to_the_base_is_still_refused_with_pissa(base, tmp_path):
    project = write_project(tmp_path / "project", base, "lora")
    words = ["method.init_lora_weights=pissa", "train.stages=[dpo, kto]"]
    with pytest.raises(ConfigError, match=r"adapter switched off.*\(stage dpo\)"):
        loaded(project, *words)


def test_a_stage_without_rows_is_told_when_the_data_is_prepared(base, tmp_path):
    project = write_project(tmp_path / "project", base, "lora")
    with pytest.raises(DataError) as caught:
        pipeline.prepare(loaded(project, "data.sources=[{path: pairs.jsonl}]"))
    assert "the stage sft has no row in train and valid" in str(caught.value)
    assert "stages: [sft, …]" in str(caught.value)
    both = loaded(project, "data.sources=[{path: pairs.jsonl, stages: [sft, dpo]}]")
    prepared = pipeline.prepare(both)
    learned = {stage: load_rows(prepared, "train", stage) for stage in ("sft", "dpo")}
    assert len(learned["sft"]) == len(learned["dpo"]) == 32
    assert learned["sft"][0]["messages"] == learned["dpo"][0]["messages"]
