"""What a release must meet, and what was published: the settings `gates` and `claims`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from kit.config.section import Section

GateKind = Literal["threshold", "significant", "non_inferior", "zero_tolerance"]
Figure = Literal["tuned", "difference", "reduction", "ratio"]
Unit = Literal["prompt", "group"]


class NonInferior(Section):
    """No loss of the margin or more: the interval of tuned minus base must rule it out."""

    margin: float = Field(gt=0)
    """The loss that would be too much, in the metric's unit: 0.02 is two points of a rate."""


class Gate(Section):
    """A condition a release must meet. A failed gate is exit code 1, too little evidence exit code 3.

    It asks one thing: `at_least`, `at_most`, `significant`, `non_inferior` or `zero_tolerance`.
    """

    name: str
    """Shown in the report; unique."""
    metric: str
    """The metric it looks at."""
    on: str | None = None
    """The set of `evaluate.general` that it is measured on; null is the case's own test split."""
    of: Figure = "tuned"
    """The tuned score; tuned minus base; 1 - tuned/base; or base/tuned (for speeds)."""
    bound: Literal["estimate", "lower", "upper"] = "estimate"
    """The point estimate, or a bound of its confidence interval."""
    at_least: float | None = None
    """The figure, or its bound, is this or more."""
    at_most: float | None = None
    """The figure, or its bound, is this or less."""
    significant: bool = False
    """Tuned is better than base, and chance alone does not explain it: p by Holm over all such gates."""
    non_inferior: NonInferior | None = None
    """Tuned is not worse than base by `{margin: …}` or more; no significant difference is not enough."""
    zero_tolerance: Literal["critical", "major", "minor"] | None = None
    """No answer, greedy or sampled, breaks a policy rule of this severity or a worse one."""
    decoding: Literal["greedy", "sampled"] = "greedy"
    """Which answers are looked at."""
    per: Unit = "prompt"
    """What is counted: prompts, or their groups (`data.split.group_by`), which fail where any prompt does."""
    worst: str | None = None
    """A slice column: the gate must hold on its worst value, such as `language`."""
    worst_of: int | None = Field(default=None, ge=1)
    """The expected worst of so many sampled answers to a prompt (worst-at-k), whatever `decoding` says; at
    most `evaluate.sampling.answers`."""
    min_n: int = Field(default=30, ge=1)
    """Fewer groups of scored prompts than this are not enough evidence."""
    because: str = ""
    """Why this threshold; for a demo gate, what was measured."""

    @property
    def kind(self) -> GateKind:
        """What the gate asks."""
        if self.significant:
            return "significant"
        if self.non_inferior is not None:
            return "non_inferior"
        return "zero_tolerance" if self.zero_tolerance is not None else "threshold"

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        asked = [key for key in ("at_least", "at_most", "non_inferior", "zero_tolerance") if self._has(key)]
        asked += ["significant"] if self.significant else []
        if len(asked) != 1:
            found = f"found {', '.join(f'`{key}`' for key in asked)}" if asked else "found none"
            raise ValueError(
                "a gate has exactly one of `at_least`, `at_most`, `significant`, `non_inferior` and "
                f"`zero_tolerance`: {found}; a second condition is a second gate"
            )
        return self

    @model_validator(mode="after")
    def _groups_have_no_slices(self) -> Self:
        if self.per == "group" and self.worst is not None:
            raise ValueError("`per: group` has no slices: leave `worst` out, or count prompts")
        return self

    @model_validator(mode="after")
    def _general_sets_are_asked_greedily(self) -> Self:
        if self.on is not None and (self.decoding != "greedy" or self.worst is not None):
            raise ValueError(
                "a general set is answered greedily and has no slices: leave `decoding` and `worst` out"
            )
        return self

    @model_validator(mode="after")
    def _worst_is_of_all_prompts(self) -> Self:
        if self.worst_of is None:
            return self
        unfit = {
            "`significant`": self.significant,  # tested at the last k only
            "`zero_tolerance`": self.zero_tolerance is not None,
            "`of: reduction` or `ratio`": self.of in ("reduction", "ratio"),
            "`worst`": self.worst is not None,
            "`per: group`": self.per == "group",
            "`on`": self.on is not None,
        }
        if found := [name for name, is_set in unfit.items() if is_set]:
            raise ValueError(
                "`worst_of` is a figure of all prompts, of tuned or of tuned minus base: leave "
                f"{' and '.join(found)} out"
            )
        return self

    @model_validator(mode="after")
    def _fits_what_it_asks(self) -> Self:
        looks_at = {
            "significant": "the difference of tuned and base",
            "non_inferior": "the unfavourable bound of the difference",
            "zero_tolerance": "every tuned answer, greedy and sampled",
        }
        if self.kind == "threshold":
            return self
        unfit = [key for key, is_set in self._set_keys().items() if is_set]
        if unfit:
            named = " and ".join(f"`{key}`" for key in unfit)
            raise ValueError(f"`{self.kind}` looks at {looks_at[self.kind]}: leave {named} out")
        return self

    def _has(self, key: str) -> bool:
        return getattr(self, key) is not None

    def _set_keys(self) -> dict[str, bool]:
        """Which of the keys that only a threshold has are set; those of all answers besides."""
        every = self.kind == "zero_tolerance"
        return {
            "of": self.of != "tuned",
            "bound": self.bound != "estimate",
            "decoding": every and self.decoding != "greedy",
            "worst": every and self.worst is not None,
            "per": every and self.per != "prompt",
            "on": every and self.on is not None,
        }


class Claim(Section):
    """A published figure the case is measured against; it informs, it does not stop a release."""

    name: str
    metric: str | None = None
    """The metric that could support it; null where no offline metric can."""
    modelled_by: Literal["labour"] | None = None
    """What answers it where no metric can: the cost model of `labour`. Its answer is never a measurement."""
    of: Figure = "tuned"
    """The tuned score; tuned minus base; 1 - tuned/base; or base/tuned (for speeds)."""
    per: Unit = "prompt"
    """What is counted: prompts, or groups of them, which fail where any prompt does."""
    at_least: float
    """The claimed figure, in the metric's unit (a share for rates, a factor for ratios)."""
    definition: str = ""
    """What exactly is claimed: of what, against what, counted how."""
    unit: str = "prompt"
    """What one of n is, in the singular: prompt, conversation, question."""
    min_n: int = Field(default=6, ge=1)
    """With fewer groups of scored prompts it is not testable; fewer than 6 never show anything."""
    margin: float = Field(default=0.0, ge=0)
    """How far below the claimed figure the interval may begin and still support it."""
    source: str = ""
    """Where the figure was published, and on what."""

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        if self.modelled_by is not None and (self.metric is not None or self.of != "tuned"):
            raise ValueError("a claim that is `modelled_by` a cost model has no `metric` and no `of`")
        return self
