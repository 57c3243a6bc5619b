"""What a training loss shows, on curves that were drawn to show it; no model."""

import math
import random

import pytest

from kit.train.curve import LONG, Watch, find_plateau, find_rises, find_spikes, fluctuation, is_spike

STEPS = 200


def falling(floor: float = 0.0, noise: float = 0.0, seed: int = 0) -> list[float]:
    dice = random.Random(seed)
    return [max(4 * math.exp(-step / 80), floor) + dice.gauss(0, noise) for step in range(STEPS)]


def watched(losses: list[float], steps: int = 0) -> list[tuple[str, int]]:
    """Kind and step of every finding that is made while the curve is drawn."""
    watch = Watch(steps=steps or len(losses))
    return [
        (found.name, found.step) for step, loss in enumerate(losses, 1) for found in watch.add(step, loss)
    ]


def test_a_steady_fall_is_nothing_to_speak_of():
    assert watched(falling()) == []
    assert watched(falling(noise=0.01)) == [], "nor is one with a little noise"
    assert watched([2.0] * 3) == [], "nor a curve of which nothing can be told yet"


def test_a_spike_is_found_once_however_long_it_lasts_and_each_of_them():
    losses = falling(noise=0.02)
    for at in (60, 61, 62, 120):
        losses[at] += 2.0
    assert watched(losses) == [("spike", 61), ("spike", 121)]
    assert [step for step, _ in find_spikes(list(enumerate(losses)))] == [60, 61, 62, 120]


@pytest.mark.parametrize("seed", range(5))
def test_noise_over_the_rule_is_fluctuation_and_no_spike(seed: int):
    """Of small batches: the 0.1 rule is broken again and again, and told once."""
    losses = falling(noise=0.3, seed=seed)
    found = watched(losses)
    assert [name for name, _ in found if name != "plateau"] == ["fluctuation"]
    assert len(find_rises(list(enumerate(losses)))) > 20
    assert fluctuation(losses) == pytest.approx(max(rise for _, rise in find_rises(list(enumerate(losses)))))


def test_a_staircase_falls_in_steps_and_has_no_plateau_unless_a_tread_is_long():
    """Each epoch of a small data set lowers the loss at once, then holds it."""
    short = [4 - 0.5 * (step // 30) for step in range(STEPS)]
    assert watched(short) == []
    long = [4 - 1.0 * (step // 80) for step in range(STEPS)]
    names = [name for name, _ in watched(long)]
    assert names == ["plateau", "plateau"], "each of the long treads, once"


def test_a_plateau_is_told_when_it_has_lasted_a_fifth_of_the_run():
    losses = falling(floor=1.0)
    ((name, step),) = watched(losses)
    flat = next(at for at, loss in enumerate(losses, 1) if loss == 1.0)
    assert name == "plateau" and flat + LONG * STEPS <= step + 10 and step < flat + LONG * STEPS + 10
    assert watched(losses, steps=2000) == [], "in a run ten times as long it may still be a tread"
    assert find_plateau(list(enumerate(losses, 1))) == pytest.approx(flat, abs=5)


def test_a_loss_that_stays_up_is_a_spike_when_it_jumps_and_not_again():
    jumped = falling()[:100] + [5.0] * 100
    names = [name for name, _ in watched(jumped)]
    assert names[0] == "spike" and names.count("spike") == 1
    assert "plateau" in names, "and then it stands still"


def test_a_steep_rise_within_the_rule_or_without_a_past_is_no_spike():
    flat = [1.0] * 20
    assert not is_spike([*flat, 1.09], 20), "flat before, so far out; but within 0.1"
    assert is_spike([*flat, 1.2], 20)
    assert not is_spike([1.0] * 5 + [9.0], 5), "five losses do not say what is usual"


def test_a_resumed_run_finds_what_the_whole_one_finds():
    losses = falling(noise=0.02)
    losses[120] += 2.0
    whole, resumed = Watch(STEPS), Watch(STEPS)
    found = [finding for step, loss in enumerate(losses) for finding in whole.add(step, loss)]
    for step, loss in enumerate(losses[:100]):
        resumed.add(step, loss)
    later = [
        finding for step, loss in enumerate(losses) if step >= 100 for finding in resumed.add(step, loss)
    ]
    assert later == [finding for finding in found if finding.step >= 100] and later


def test_two_losses_of_single_steps_are_no_alarm():
    """As `logging_steps: 1` logs them: they differ by their rows. The sixth has five before it."""
    watch = Watch(steps=100)
    losses = [2.0, 2.5, 2.0, 2.6, 2.1, 2.1, 2.9]
    found = [finding for step, loss in enumerate(losses, 1) for finding in watch.add(step, loss)]
    assert [(finding.step, finding.message.split(";")[0]) for finding in found] == [
        (7, "the loss rose by 0.64 over the mean of the 5 logged before")
    ]
    assert find_rises(list(enumerate(losses[:6]))) == []
