"""What must not change a run: another time of the same seed, recomputed activations, how often is validated.

Splits of a batch and packing are in `test_train_packing.py`, interruptions in `test_train_kill.py`.
"""

import pytest
from train_world import losses_of, weights_of

from kit.config.schema import Config
from kit.train.metrics import read_metrics
from kit.train.stages import train

pytestmark = pytest.mark.slow


def with_dropout(config: Config) -> Config:
    """Then a run depends on every random number that is drawn."""
    return config.model_copy(update={"method": config.method.model_copy(update={"dropout": 0.2})})


def curve(run):
    names = ("step", "loss", "grad_norm", "learning_rate")
    return [[line[name] for name in names] for line in read_metrics(run) if line["kind"] == "train"]


def test_the_same_seed_gives_the_same_curve_and_another_seed_another(settings, prepared, tmp_path):
    first, again, other = (
        train(with_dropout(settings("lora", seed=seed)), tmp_path / str(number), prepared, None)
        for number, seed in enumerate((42, 42, 7))
    )
    assert len(curve(first)) == 6
    assert curve(first) == curve(again) != curve(other)
    assert weights_of(first) == weights_of(again) != weights_of(other)


@pytest.mark.parametrize(("method", "packing"), [("full", False), ("lora", False), ("qlora", True)])
def test_recomputing_activations_changes_nothing(method, packing, settings, prepared, tmp_path):
    kept, recomputed = (
        train(
            with_dropout(settings(method, packing=packing, gradient_checkpointing=on)),
            tmp_path / str(on),
            prepared,
            None,
        )
        for on in (False, True)
    )
    assert curve(recomputed) == curve(kept)
    assert weights_of(recomputed) == weights_of(kept)


def test_how_often_is_validated_changes_no_step(settings, prepared, tmp_path):
    seldom, often = (
        train(
            with_dropout(settings("lora", eval_steps=every, early_stopping_patience=99)),
            tmp_path / str(every),
            prepared,
            None,
        )
        for every in (6, 1)
    )
    assert losses_of(often) == losses_of(seldom)
    last = "checkpoints/checkpoint-6"
    assert weights_of(often, last) == weights_of(seldom, last)
