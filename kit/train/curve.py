"""What a training loss shows while it is drawn: rises over the rule of thumb, spikes, plateaus.

The loss of a sound run falls steadily. Practice with large models treats what does not as follows, and so
does the advice here: PaLM (Chowdhery et al. 2022, section 5.1) went back about a hundred steps before each
spike and left out the 200 to 500 batches around it; OPT (Zhang et al. 2022, section 2.5) went back to an
earlier checkpoint and lowered the rate.

No torch: the report reads curves by the same definitions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

Point = tuple[float, float]
"""A logged step and its loss."""

FLUCTUATION_LIMIT = 0.1
"""The field's rule of thumb: a training loss that rises by more than this is not steady."""
WINDOW = 5
"""Logged losses whose mean the next one is compared with; with fewer before it nothing is called a rise: two
losses of single steps (`logging_steps: 1`) differ by their rows alone."""

SPIKE = 8.0
"""A spike is a rise so many robust standard deviations above the median of the rises before it. Outliers are
often drawn at 3.5 (Iglewicz and Hoaglin 1993), which noise reaches every few hundred logged losses; 8 it
reached once in 30,000 where it was normal, 23 times with the heavy tails of Student's t at 3."""
SPIKE_WINDOW = 50
"""Rises before it that say what is usual; spikes among them do not move a median."""
SPIKE_LEAST = 10
"""With fewer rises before it nothing is called a spike."""
_SIGMA = 1.4826
"""A normal distribution's standard deviation by its median absolute deviation."""

STILL = 0.01
"""A loss that falls by a smaller share than this stands still."""
LONG = 0.2
"""Of the run's steps, that a loss must stand still for."""

Name = Literal["fluctuation", "spike", "plateau"]


@dataclass(frozen=True)
class Finding:
    """Something that a run should not do.

    Attributes:
        step: the step it was seen at; of a plateau, the one it began at is in the message.
        value: the rise of the loss; of a plateau, its height.
    """

    step: int
    name: str
    message: str
    advice: str
    value: float


def rise(losses: Sequence[float], at: int, window: int = WINDOW) -> float:
    """How far the loss at place `at` lies above the mean of the `window` before it; 0 with fewer before."""
    return _over_mean(losses, at, window) if at >= window else 0.0


def _over_mean(losses: Sequence[float], at: int, window: int = WINDOW) -> float:
    """The same over as many as there are."""
    before = losses[max(0, at - window) : at]
    return losses[at] - sum(before) / len(before)


def fluctuation(losses: Sequence[float], window: int = WINDOW) -> float:
    """The largest rise of a loss over the mean of the `window` losses before it; 0 if it only falls.

    A steep fall is learning, not fluctuation, so only rises count.
    """
    return max([0.0, *(rise(losses, at, window) for at in range(window, len(losses)))])


def is_spike(losses: Sequence[float], at: int) -> bool:
    """Whether the loss at place `at` breaks the 0.1 rule and rises far more than is usual before it.

    Rises are over the mean of the few losses before, so that the fall of the whole curve is no spread.
    """
    height = rise(losses, at)
    before = [_over_mean(losses, place) for place in range(max(1, at - SPIKE_WINDOW), at)]
    if len(before) < SPIKE_LEAST or height <= FLUCTUATION_LIMIT:
        return False
    middle = median(before)
    spread = _SIGMA * median(abs(one - middle) for one in before)
    return height > middle + SPIKE * spread


def find_spikes(points: Sequence[Point]) -> list[Point]:
    """The spikes of a curve: (step, rise over the mean of the `WINDOW` losses before)."""
    losses = [loss for _, loss in points]
    return [(step, rise(losses, at)) for at, (step, _) in enumerate(points) if is_spike(losses, at)]


def find_rises(points: Sequence[Point]) -> list[Point]:
    """Where the loss broke the 0.1 rule: (step, rise). The greatest is the manifest's `max_fluctuation`."""
    losses = [loss for _, loss in points]
    rises = ((step, rise(losses, at)) for at, (step, _) in enumerate(points))
    return [(step, found) for step, found in rises if found > FLUCTUATION_LIMIT]


def find_plateau(points: Sequence[Point], steps: float | None = None) -> float | None:
    """The step from which on the loss fell by less than `STILL` of itself, if that is a fifth of the run.

    Losses are means of `WINDOW` logged ones; with fewer than four windows there is no telling.

    Args:
        steps: of the run; default: up to the last point.
    """
    if len(points) < 4 * WINDOW:
        return None
    last = points[-1][0]
    lowest, first = float("inf"), last
    for end in range(len(points), WINDOW - 1, -1):
        mean = sum(loss for _, loss in points[end - WINDOW : end]) / WINDOW
        lowest = min(lowest, mean)
        if mean - lowest >= STILL * abs(mean):
            break
        first = points[end - 1][0]
    return first if last - first >= LONG * (last if steps is None else steps) else None


@dataclass
class Watch:
    """Looks at a training loss as it is logged.

    A finding is made once: of rises over the rule the first; of spikes one for each, however many logged
    losses it lasts; of a plateau one, until the loss falls below it.

    Attributes:
        steps: of the whole run.
    """

    steps: int
    points: list[Point] = field(default_factory=list)
    rose: bool = False
    in_spike: bool = False
    plateau: float | None = None
    """The height of the plateau the loss is on."""

    def add(self, step: int, loss: float) -> list[Finding]:
        """What a newly logged loss shows."""
        self.points.append((step, loss))
        losses = [found for _, found in self.points[-SPIKE_WINDOW - WINDOW - 1 :]]
        return [*self._rise(step, losses), *self._plateau(step)]

    def _rise(self, step: int, losses: list[float]) -> list[Finding]:
        at = len(losses) - 1
        height, before = rise(losses, at), self.in_spike
        self.in_spike = is_spike(losses, at)
        if self.in_spike:
            return [] if before else [_spike(step, losses[at], losses[at] - height, height)]
        if height <= FLUCTUATION_LIMIT or self.rose or before:
            return []
        self.rose = True
        return [_fluctuation(step, height)]

    def _plateau(self, step: int) -> list[Finding]:
        if len(self.points) % WINDOW:
            return []  # a window at a time: whether it stands still is not seen sooner
        height = sum(loss for _, loss in self.points[-WINDOW:]) / WINDOW
        if self.plateau is not None:
            if height < self.plateau - STILL * abs(self.plateau):
                self.plateau = None
            return []
        first = find_plateau(self.points, self.steps)
        if first is None:
            return []
        self.plateau = height
        return [_plateau(step, first, height)]


def _fluctuation(step: int, height: float) -> Finding:
    message = (
        f"the loss rose by {height:.3g} over the mean of the {WINDOW} logged before; a steady run stays "
        f"within {FLUCTUATION_LIMIT}"
    )
    advice = "if it goes on, lower `train.learning_rate` or raise `train.global_batch_size`"
    return Finding(step, "fluctuation", message, advice, height)


def _spike(step: int, loss: float, usual: float, height: float) -> Finding:
    message = f"the loss jumped to {loss:.3g} from about {usual:.3g}"
    advice = (
        "if it does not come back, train again with a lower `train.learning_rate` or `train.max_grad_norm`, "
        "and look at the rows of these steps"
    )
    return Finding(step, "spike", message, advice, height)


def _plateau(step: int, first: float, height: float) -> Finding:
    message = f"the loss has stood still at {height:.3g} since step {first:.0f}"
    advice = (
        "more steps will add little: stop here if the task score stands still too, or change the rate or data"
    )
    return Finding(step, "plateau", message, advice, height)
