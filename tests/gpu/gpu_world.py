"""What the tests of a GPU share: where they run, the command in this process, runs held to each other."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file
from train_world import dialogue, losses_of

REHEARSAL = os.environ.get("CASEKIT_GPU_REHEARSAL") == "cpu"
"""Whether a CPU takes the GPU's place, so that nobody waits for a GPU to find a slip in a test."""
WHERE = "cpu" if REHEARSAL else "cuda"

on_a_gpu = pytest.mark.skipif(
    not REHEARSAL and not torch.cuda.is_available(),
    reason="needs a CUDA GPU: `pytest tests/gpu` on one (CASEKIT_GPU_REHEARSAL=cpu tries the tests on a CPU)",
)
on_cuda_only = pytest.mark.skipif(REHEARSAL, reason="a CPU cannot stand in for the GPU here")
"""For tests that mean nothing in a rehearsal."""


def narrow() -> torch.dtype:
    """The type of weights that `auto` stands for."""
    native = not REHEARSAL and torch.cuda.get_device_capability() >= (8, 0)
    return torch.bfloat16 if native else torch.float32


def casekit(*words: str) -> int:
    """The command as a user types it, in this process; its exit code."""
    from kit.cli import main

    with patch.object(sys, "argv", ["casekit", *words]):
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def newest_run(project: Path) -> Path:
    """The run of a project that began last."""
    return max((path.parent for path in project.glob("runs/*/manifest.json")), key=lambda run: run.name)


def write_long(folder: Path, train: int, valid: int, often: int) -> Path:
    """Prepared data of questions that are said so often, ten tokens and more each time."""
    import datasets

    for split, count in {"train": train, "valid": valid}.items():
        rows = []
        for number in range(count):
            asked, answer = dialogue(number)
            rows.append([{**asked, "content": asked["content"] * often}, answer])
        datasets.Dataset.from_dict({"messages": rows}).save_to_disk(str(folder / split))
    (folder / "data.json").write_text(json.dumps({"schema": 1, "fingerprint": f"long-{train}"}))
    return folder


@dataclass(frozen=True)
class Apart:
    """How far two runs are from each other: the most that a weight, and that a logged loss, differs by."""

    weights: float
    losses: float

    def __str__(self) -> str:
        if not self.weights and not self.losses:
            return "equal bit for bit"
        return f"weights differ by {self.weights:.1e} at most, losses by {self.losses:.1e}"


def apart(run: Path, other: Path) -> Apart:
    """Hold the golden checkpoints and the newest of the others against each other, and the losses."""
    mine, theirs = losses_of(run), losses_of(other)
    assert len(mine) == len(theirs) > 0
    losses = max(abs(one - two) for one, two in zip(mine, theirs, strict=True))
    return Apart(max(_weights_apart(*pair) for pair in _folders(run, other)), losses)


def _folders(run: Path, other: Path) -> Iterator[tuple[Path, Path]]:
    yield run / "golden", other / "golden"
    newest = [
        max((one / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        for one in (run, other)
    ]
    assert newest[0].name == newest[1].name
    yield newest[0], newest[1]


def _weights_apart(folder: Path, other: Path) -> float:
    files = sorted(folder.glob("*.safetensors"))
    assert files
    most = 0.0
    for file in files:
        mine, theirs = load_file(file), load_file(other / file.name)
        assert mine.keys() == theirs.keys()
        most = max(most, *(float((mine[one].double() - theirs[one].double()).abs().max()) for one in mine))
    return most
