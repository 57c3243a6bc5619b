"""A world small enough to train in seconds: a random Qwen3 of 60 thousand parameters and 48 dialogues."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from train_project import write_project
from train_world import write_base, write_prepared
from warm import Warm

from kit.config.schema import Config


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model with random weights, in a local folder."""
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 dialogues to train on, 8 to validate with."""
    return write_prepared(tmp_path_factory.mktemp("prepared"), train=48, valid=8)


@pytest.fixture(scope="session")
def pristine(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared project; to be copied."""
    return write_project(tmp_path_factory.mktemp("project") / "pristine", base)


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """A process that runs `casekit` without importing torch each time."""
    process = Warm()
    yield process
    process.close()


@pytest.fixture
def settings(base: Path) -> Callable[..., Config]:
    """Settings of a short run; keyword arguments go to `train`, `method` names the method."""

    def make(method: str = "full", seed: int = 42, **train: Any) -> Config:
        short = {
            "learning_rate": 3e-3,
            "num_train_epochs": 1,
            "global_batch_size": 8,
            "per_device_train_batch_size": 8,
            "logging_steps": 1,
            "eval_steps": 3,
            "save_steps": 3,
        }
        return Config.model_validate(
            {
                "seed": seed,
                "model": {"name": str(base), "max_length": 256},
                "method": {"name": method},
                "train": {**short, **train},
                "hardware": {"num_threads": 1},  # at this size a second thread only waits
                "tracking": {"report_to": []},
            }
        )

    return make


@pytest.fixture
def exact_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute in float32, so that what must be equal is equal to more than bfloat16's rounding."""
    monkeypatch.setattr("kit.train.setup.mixed_precision", lambda on: None)
