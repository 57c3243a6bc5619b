"""What is left out of every pass changes no result."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from train_world import losses_of, weights_of

from kit.config.schema import Config
from kit.train.lean import LeanTrainer, training_mode
from kit.train.stages import train

Settings = Callable[..., Config]


def network() -> Any:
    """Two modules that know their mode."""
    return torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(2, 2))


def test_a_model_is_put_into_training_mode_once_and_back_when_asked() -> None:
    model = network().eval()
    walks = []
    model[0].register_module("child", torch.nn.Dropout())
    model[0].train = lambda mode=True: walks.append(mode) or torch.nn.Module.train(type(model[0])(), mode)

    with training_mode(model):
        assert model.training
        model.train()
        model.train()
        assert walks == [True]  # the first, for it was in evaluation mode
        model.eval()
        assert not model.training
        assert walks == [True, False]
        model.train()
        assert walks == [True, False, True]

    model.train()
    assert walks == [True, False, True, True]  # outside it is as it was


def test_a_model_in_training_mode_is_not_walked_through() -> None:
    model = network()
    model[0].train = lambda mode=True: pytest.fail("walked through")
    with training_mode(model):
        model.train()
    assert "train" not in vars(model)


def test_of_a_wrapped_model_the_mode_is_that_of_the_model_within() -> None:
    wrapper = torch.nn.Module()
    wrapper.module = network()
    wrapper.module.eval()  # as validation leaves it
    assert wrapper.training
    with training_mode(wrapper):
        wrapper.train()
        assert wrapper.module.training and wrapper.module[0].training
        wrapper.module.eval()
        wrapper.train()
        assert wrapper.module[0].training


def test_an_error_within_gives_the_model_back_its_own() -> None:
    model = network()
    with pytest.raises(ValueError), training_mode(model):
        raise ValueError
    assert "train" not in vars(model)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_run_is_the_same_with_all_that_is_left_out(
    method: str, settings: Settings, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(method, packing=True)  # with a validation in between, and several passes a step
    lean = train(config, tmp_path / "lean", prepared, task_score=None)
    monkeypatch.delattr(LeanTrainer, "training_step")
    monkeypatch.delattr(LeanTrainer, "floating_point_ops")
    plain = train(config, tmp_path / "plain", prepared, task_score=None)
    assert losses_of(lean) == losses_of(plain)
    assert weights_of(lean) == weights_of(plain)
