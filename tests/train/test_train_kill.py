"""kill -9 at any moment, also in the middle of a write: a resumed run ends where an unbroken one does."""

import os
import random
import shutil
import signal
from pathlib import Path

import pytest
from train_world import end_of, same_end

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("CASEKIT_KILL_SEED", "5"))
"""Which ten moments; another number tries others."""

# 24 steps with a line and a validation every 3 and a checkpoint every 2, so that some fall between lines.
WORDS = (
    "train.num_train_epochs=4",
    "train.per_device_train_batch_size=4",
    "train.logging_steps=3",
    "train.eval_steps=3",
    "train.save_total_limit=2",
    "train.early_stopping_patience=99",
)
METHODS = {
    "lora": ("method.dropout=0.1",),
    "full, packed": ("method=full", "train.packing=true"),
}
KINDS = {
    "half a file of a checkpoint": "half checkpoints/.saving",
    "between files of a checkpoint": "open checkpoints/.saving",
    "a checkpoint moves into place": "rename checkpoints/.saving",
    "half an old checkpoint deleted": "remove from checkpoints/checkpoint",
    "half a file of golden": "half .golden",
    "golden is replaced": "rename .golden",
    "half a line": "open metrics.jsonl",
    "the manifest moves into place": "rename .manifest",
}
"""What is to be hit once each, by how its events begin; two more kills come at steps."""


@pytest.mark.parametrize("method", METHODS)
def test_a_run_killed_ten_times_ends_as_one_that_was_not(method, pristine, warm, tmp_path):
    words = [*WORDS, *METHODS[method]]
    whole = shutil.copytree(pristine, tmp_path / "whole")
    events = tmp_path / "events"
    assert warm.casekit(whole, "train", *words, plot=("record", str(events))).code == 0
    (unbroken,) = (whole / "runs").iterdir()

    project = shutil.copytree(pristine, tmp_path / "killed")
    moments = ten_moments(events.read_text().splitlines(), f"{SEED}-{method}")
    said = f"CASEKIT_KILL_SEED={SEED}: {moments}"
    for event, times in moments:
        begun = list(project.glob("runs/*/manifest.json"))  # killed before that, there is nothing to resume
        resume = ["--resume"] if begun else []
        done = warm.casekit(project, "train", *resume, *words, plot=("kill", event, times))
        assert done.code == -signal.SIGKILL, f"{said}; not killed at {event}: {done.said}"
    done = warm.casekit(project, "train", "--resume", *words)
    assert done.code == 0, f"{said}: {done.said}"
    (run,) = (path.parent for path in project.glob("runs/*/manifest.json"))
    assert [path.name for path in run.glob(".*")] == [], said
    assert names(run) == names(unbroken), said
    same_end(run, unbroken)


def ten_moments(events: list[str], seed: str) -> list[tuple[str, int]]:
    """Ten events of the unbroken run, each with at which time since the last start it is hit."""
    draw = random.Random(seed)
    moments = [("step", draw.randint(1, 9)), ("step", draw.randint(1, 9))]
    for kind, begin in KINDS.items():
        among = sorted({event for event in events if event.startswith(begin)})
        assert among, f"{kind}: no event begins with {begin!r} among {sorted(set(events))}"
        moments.append((draw.choice(among), draw.randint(1, 2)))
    draw.shuffle(moments)
    return moments


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_the_comparison_would_see_a_difference(pristine, warm, tmp_path):
    ends = []
    for rate in ("1e-3", "1.001e-3"):
        project = shutil.copytree(pristine, tmp_path / rate)
        assert warm.casekit(project, "train", f"train.learning_rate={rate}", "train.max_steps=2").code == 0
        (run,) = (project / "runs").iterdir()
        ends.append(end_of(run))
    differing = {name.rsplit("/", 1)[-1] for name in ends[0] if ends[0][name] != ends[1].get(name)}
    assert {"curves", "adapter_model.safetensors", "optimizer.pt", "scheduler.pt"} <= differing
