"""`casekit train --resume` as it is typed: a run knows its words, and one process goes on with a chain."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from train_chain_project import dialogues_of, pairs_of, write_lines

from kit import pipeline
from kit.config import load_config
from kit.config.errors import ConfigError
from kit.config.yaml_lines import load_yaml
from kit.train.chain import alone_after
from kit.train.opening import held
from kit.train.resume import words_to_go_on
from kit.train.runs import list_runs, load_manifest

pytestmark = pytest.mark.slow

WORDS = ["train.max_grad_norm=0.9", "train.max_steps=3"]
STOPPED = ("send", "step", int(signal.SIGINT), 1)


@pytest.fixture
def project(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "project"))


def in_project(project: Path, line: str) -> None:
    """Write a line under `train` of the project's file."""
    path = project / "conf" / "project.yaml"
    path.write_text(path.read_text().replace("\ntrain:\n", f"\ntrain:\n  {line}\n"))


def test_a_run_goes_on_with_its_own_words_and_whatever_differs_is_refused(project, warm):
    assert warm.casekit(project, "train", *WORDS, plot=STOPPED).code == 130
    (run,) = list_runs(project)
    assert load_manifest(run)["words"] == WORDS
    before = (run / "manifest.json").read_bytes()

    refused = warm.casekit(project, "train", "--resume", "train.max_grad_norm=0.5", "seed=3")
    assert refused.code == 2
    was = "train.max_grad_norm was 0.9 when the run began and is 0.5 now"
    assert f"{was} (command line: train.max_grad_norm=0.5)" in refused.said
    assert "seed was 42 when the run began and is 3 now (command line: seed=3)" in refused.said
    assert "train.max_steps was" not in refused.said, "what is not named is as it was"

    settings = (project / "conf" / "project.yaml").read_text()
    in_project(project, "weight_decay: 0.25")
    line = 1 + (project / "conf" / "project.yaml").read_text().splitlines().index("  weight_decay: 0.25")
    refused = warm.casekit(project, "train", "--resume")
    assert refused.code == 2
    was = "train.weight_decay was 0.0 when the run began and is 0.25 now"
    assert f"{was} (conf/project.yaml:{line})" in refused.said
    assert (run / "manifest.json").read_bytes() == before, "a refused resume leaves the run as it was"

    (project / "conf" / "project.yaml").write_text(settings)
    in_project(project, "max_grad_norm: 0.7")  # under a word of the run, which still lies over it
    done = warm.casekit(project, "train", "--resume", "evaluate.latency_prompts=3")  # may change
    assert done.code == 0, done.said
    assert f"{run.name} goes on with its words: {' '.join(WORDS)}" in done.said
    manifest = load_manifest(run)
    assert (manifest["status"], manifest["steps"], manifest["words"]) == ("finished", 3, WORDS)


def test_a_words_last_place_counts_and_a_machine_is_not_the_runs(tmp_path):
    words = ["seed=1", "hardware.machine_rank=0", "seed=2", "hardware.num_machines=2"]
    (tmp_path / "manifest.json").write_text(json.dumps({"words": words}))
    assert words_to_go_on(tmp_path, []) == ["seed=1", "seed=2", "hardware.num_machines=2"]
    again = words_to_go_on(tmp_path, ["seed=1", "hardware.machine_rank=1"])
    assert again == ["seed=2", "hardware.num_machines=2", "seed=1", "hardware.machine_rank=1"]
    (tmp_path / "manifest.json").write_text("{}")  # of a run that began before words were kept
    assert words_to_go_on(tmp_path, ["seed=1"]) == ["seed=1"]


CHAIN = [
    "data.sources=[{path: rows.jsonl}, {path: pairs.jsonl}]",
    "train.stages=[sft, {name: dpo, learning_rate: 1e-3}]",
    "train.max_steps=2",
    "train.golden_metric=null",
    "train.preference.beta=0.3",  # which says nothing to the first stage
]


@pytest.fixture
def cut(pristine: Path, warm, tmp_path: Path) -> Path:
    """A project whose chain was stopped in the last save of its first stage."""
    project = Path(shutil.copytree(pristine, tmp_path / "project"))
    splits = ["train"] * 16 + ["valid"] * 4 + ["test"] * 4
    write_lines(project / "rows.jsonl", dialogues_of(splits))
    write_lines(project / "pairs.jsonl", pairs_of(splits))
    pipeline.prepare(load_config(project, CHAIN))
    done = warm.casekit(project, "train", *CHAIN, plot=("send", "saving", int(signal.SIGTERM), 1))
    assert done.code == 75, done.said
    (first,) = list_runs(project)
    assert load_manifest(first)["status"] == "finished", done.said
    return project


def test_of_two_that_go_on_with_a_chain_one_wins_and_the_other_is_told(cut, warm, tmp_path):
    (first,) = list_runs(cut)
    other = tmp_path / "other.txt"
    done = warm.casekit(cut, "train", "--resume", plot=("beside", ["train", "--resume"], str(other)))
    assert done.code == 0, done.said
    said = " ".join(other.read_text().split())
    assert f"{first} the stage after it is being trained by process " in said.replace("runs/", f"{cut}/runs/")
    assert said.endswith("exit 2"), said
    assert "wait until it is done" in said

    _, second = list_runs(cut)
    manifest = load_manifest(second)
    assert (manifest["status"], manifest["stage"]) == ("finished", "dpo")
    assert manifest["continues"]["run"] == first.name and manifest["words"] == CHAIN
    settings, _ = load_yaml(second / "config.yaml")
    assert settings["train"]["preference"]["beta"] == 0.3, "a word for the second stage alone is kept"
    assert settings["train"]["learning_rate"] == 1e-3


def test_a_chain_that_differs_is_refused_with_the_difference(cut, warm):
    (first,) = list_runs(cut)
    refused = warm.casekit(cut, "train", "--resume", "train.max_grad_norm=0.5")
    assert refused.code == 2 and list_runs(cut) == [first]
    was = "`train.max_grad_norm` was 1.0 when it was trained and is 0.5 now"
    assert f"{first.name} {was} (command line: train.max_grad_norm=0.5)" in refused.said


def test_a_stage_that_another_process_begins_or_has_begun_is_not_begun_again(tmp_path):
    first, second = (tmp_path / "runs" / name for name in ("20260101-sft-lora", "20260102-dpo-lora"))
    first.mkdir(parents=True)
    (first / "manifest.json").write_text(json.dumps({"status": "finished", "stage": "sft"}))
    with held(first, "the stage after it is being trained"):
        with pytest.raises(ConfigError, match="the stage after it is being trained by process"):
            alone_after(first).__enter__()
        with alone_after(None):
            pass
    with alone_after(first):
        second.mkdir()
        (second / "manifest.json").write_text(json.dumps({"continues": {"run": first.name}}))
    with pytest.raises(ConfigError, match=f"the stage after it has begun meanwhile: {second.name}"):
        alone_after(first).__enter__()
