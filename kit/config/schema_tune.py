"""What stands under `tune`: the settings that `casekit tune` searches, and on what budget."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kit.config.section import Section

Positive = Annotated[int, Field(gt=0)]


class Tune(Section):
    """A search over learning rate, rank and batch; each trial is a run by the project's other settings."""

    learning_rate: list[Annotated[float, Field(gt=0)]] = [1e-5, 3e-3]
    """Lowest and highest rate; drawn evenly on a log scale. Empty leaves `train.learning_rate`."""
    rank: list[Positive] = []
    """Ranks of the adapter to choose from; `method.alpha` goes with them. Empty leaves `method.rank`."""
    global_batch_size: list[Positive] = []
    """Batches to choose from; `eval_steps` and `save_steps` shrink as they grow, so that trials are compared
    after as many rows. Empty leaves `train.global_batch_size`."""
    trials: int = Field(default=20, gt=0)
    """How many runs, those included that are given up."""
    max_hours: float | None = Field(default=None, gt=0)
    """No trial begins after this many hours of training, over all sessions; null sets no limit."""
    objective: Literal["task_score", "eval_loss"] = "task_score"
    """What makes a trial better: the score that picks the golden checkpoint, or the lowest loss."""

    @model_validator(mode="after")
    def _searches_something(self) -> Self:
        rates = self.learning_rate
        if rates and not (len(rates) == 2 and rates[0] < rates[1]):
            raise ValueError(f"`learning_rate` is a lowest and a highest rate: found {rates}")
        if not (rates or len(self.rank) > 1 or len(self.global_batch_size) > 1):
            raise ValueError("there is nothing to search: give a range of rates, or several ranks or batches")
        return self
