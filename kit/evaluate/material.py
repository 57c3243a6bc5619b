"""What scores are made from: answers with what every metric makes of them, for all prompts or for some."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from kit.config.schema import Config
from kit.evaluate.baselines import Found
from kit.evaluate.metrics import LoadedMetric, MetricResult
from kit.evaluate.predictions import Line
from kit.evaluate.prompts import Prompt


@dataclass(frozen=True)
class Answered:
    """One system's answers under one decoding, with what every metric makes of them."""

    outputs: list[str]
    invalid: list[str | None]
    results: dict[str, MetricResult]


@dataclass(frozen=True)
class Material:
    """What scores are made from; lists are in the prompts' order."""

    config: Config
    metrics: Sequence[LoadedMetric]
    prompts: Sequence[Prompt]
    answered: dict[tuple[str, str], Answered]
    """By decoding and system."""
    baselines: dict[str, dict[str, Found]]
    """Metric -> baseline -> its items, or why it has none."""
    latency: Sequence[Line]
    likelihood: Sequence[Line]
    memorisation: Sequence[Line]
    """Of training rows, not of prompts."""
    drawn: dict[str, list[Answered]] = field(default_factory=dict)
    """System -> its first, second, … sampled answer to every prompt; empty where one a prompt was drawn."""

    @property
    def decodings(self) -> list[str]:
        """Those that were asked for, greedy first."""
        return list(dict.fromkeys(decoding for decoding, _ in self.answered))

    def without(self, left_out: Collection[str]) -> "Material":
        """The same without some prompts, by their ids; what an answer scores does not change."""
        places = [place for place, prompt in enumerate(self.prompts) if prompt.id not in left_out]
        return replace(
            self,
            prompts=[self.prompts[place] for place in places],
            answered={key: _answers_at(answered, places) for key, answered in self.answered.items()},
            baselines={
                metric: {name: at if isinstance(at, str) else at.at(places) for name, at in found.items()}
                for metric, found in self.baselines.items()
            },
            latency=[line for line in self.latency if line["id"] not in left_out],
            likelihood=[line for line in self.likelihood if line["id"] not in left_out],
            drawn={
                system: [_answers_at(answered, places) for answered in given]
                for system, given in self.drawn.items()
            },
        )


def _answers_at(answered: Answered, places: Sequence[int]) -> Answered:
    return Answered(
        outputs=[answered.outputs[place] for place in places],
        invalid=[answered.invalid[place] for place in places],
        results={name: result.at(places) for name, result in answered.results.items()},
    )
