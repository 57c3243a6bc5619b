"""Every setting of a project, once: name, type, range, default and what it means.

The schema is the single source of truth. `casekit config --schema` prints it as JSON Schema, the
generated YAML points at that schema, and the loader refuses whatever is not named here. Defaults
here are the `kit default` layer; a recipe, a tier, a project and the command line lie on top. What stands
under `data` is in `kit.config.schema_data`, what is about training in `kit.config.schema_train`.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from kit.config.gates import Claim, Gate
from kit.config.labour import Labour
from kit.config.schema_data import Data
from kit.config.schema_judge import Judge
from kit.config.schema_train import Hardware, MethodConfig, Tracking, Train
from kit.config.schema_tune import Tune
from kit.config.section import Section, name_only

TierName = Literal["tiny", "startup", "medium", "large"]


class Recipe(Section):
    """What the project was made from. Shown in reports; a recipe fills it, a project does not."""

    name: str = "blank"
    """The recipe's folder name under `recipes/`."""
    title: str = "Any domain"
    """One line for menus and report headings."""
    summary: str = ""
    """What an assistant made from this recipe does, in a sentence or two."""
    languages: list[str] = ["en"]
    """ISO 639-1 codes the recipe has data and metrics for."""
    not_for: list[str] = []
    """Uses the assistant must not be put to; printed in the README, the report and the model card."""


class Project(Section):
    """The generated project itself."""

    name: str = "casekit-project"
    """The project's name, as asked by the scaffold."""
    languages: list[str] = []
    """The languages that are deployed; empty means all of the recipe's."""


class Model(Section):
    """The model to start from. `model: Qwen/Qwen3-0.6B` is short for `model: {name: …}`."""

    name: str = "tiny"
    """`tiny`, a folder with safetensors weights, or a Hub id."""
    revision: str | None = None
    """The Hub commit to load."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Weights' type; `auto` is bfloat16 where the device computes in it, else float32."""
    max_length: int = Field(default=1024, ge=16)
    """Longest sample in tokens. What becomes of a longer dialogue is `data.over_length`."""


class MetricUse(Section):
    """One metric and its parameters. A bare name is short for `{name: …}`."""

    name: str
    """A folder under `kit/evaluate/metrics/`, or a metric of the project's hooks."""
    params: dict[str, Any] = {}
    """Passed to the metric's `compute`, such as `policy: conf/policy.yaml`."""


class Sampling(Section):
    """The second, sampled pass that shows what users meet when the temperature is not zero."""

    enabled: bool = True
    temperature: float = Field(default=0.7, gt=0)
    top_p: float = Field(default=0.95, gt=0, le=1)
    answers: int = Field(default=1, ge=1)
    """How many are drawn to each prompt. With more than one the report shows the expected worst of k of them
    (worst-at-k) for every k; all other figures are of the first."""

    @model_validator(mode="after")
    def _several_are_drawn(self) -> Self:
        if self.answers > 1 and not self.enabled:
            raise ValueError(
                f"`answers` is {self.answers} and `enabled` is false: greedy decoding gives the same answer "
                "every time, and the worst of several is that one; set `enabled` to true, or `answers` to 1"
            )
        return self


class Goodput(Section):
    """What a user still calls prompt: a request counts that meets both limits and ends by itself."""

    time_to_first_token: float = Field(gt=0)
    """Seconds from sending to the first token with text (TTFT), at most."""
    time_per_output_token: float = Field(gt=0)
    """Seconds a token after the first (TPOT), at most."""


class GeneralSet(Section):
    """Questions outside the case, asked of base and tuned: tuning must not cost what the base could do."""

    name: str
    """Shown in the report, and named by a gate's `on`; unique."""
    path: str
    """A file of questions and answers in any format that `data` reads, relative to the project. The
    answers may be missing where no metric reads them."""
    columns: dict[str, str] = {}
    """Renames before reading: our column name -> theirs, such as `prompt: question`."""
    system_prompt: str | None = None
    """Asked without one by default: the case's own may forbid what is asked here."""
    metrics: Annotated[
        list[Annotated[MetricUse, BeforeValidator(name_only, json_schema_input_type=str | MetricUse)]],
        Field(min_length=1),
    ]
    """What is measured on it."""
    margin: float = Field(default=0.02, gt=0)
    """The loss that would be too much, in the metric's unit: 0.02 is two points of a rate."""
    max_prompts: int = Field(default=400, gt=0)
    """How many of its questions are asked; chosen by content hash."""


class HarnessTask(Section):
    """A task of EleutherAI's lm-evaluation-harness (extra `harness`); a bare name is `{name: …}`."""

    name: str
    """As `lm-eval ls tasks` has it, or of `include_path`; named by a gate's `on`."""
    include_path: str | None = None
    """A folder with tasks of one's own, relative to the project."""
    num_fewshot: int | None = Field(default=None, ge=0)
    """Examples before each question; null leaves the task's own number."""
    limit: int | None = Field(default=None, gt=0)
    """The first so many questions only; null asks all."""
    margin: float = Field(default=0.02, gt=0)
    """The loss that would be too much, as in `general`."""


class Evaluate(Section):
    """Base against tuned on the same held-out prompts."""

    metrics: list[
        Annotated[MetricUse, BeforeValidator(name_only, json_schema_input_type=str | MetricUse)]
    ] = []
    """What is measured, most important first; each metric once."""
    general: list[GeneralSet] = []
    """Sets outside the case on which nothing must be lost."""
    harness: list[
        Annotated[HarnessTask, BeforeValidator(name_only, json_schema_input_type=str | HarnessTask)]
    ] = []
    """Tasks of lm-evaluation-harness that both systems are given, reported beside the general sets."""
    max_prompts: int = Field(default=400, gt=0)
    """How many test prompts are used; chosen by content hash, so the same ones every time."""
    max_new_tokens: int = Field(default=160, gt=0)
    """Longest answer. An answer that reaches it counts as cut."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """What answers the prompts. `vllm` (extra `vllm`, needs a GPU) is for large models and many prompts, and
    gives answers only: no times, no probabilities. It was tested against a stand-in, on no GPU."""
    batch_size: Annotated[int, Field(gt=0)] | Literal["auto"] = 32
    """Prompts answered at once; the next one takes the place of an answer that is complete. Halved where
    memory runs out; `auto` also doubles it while a GPU's memory allows. vLLM decides by itself."""
    sampling: Sampling = Sampling()
    latency_prompts: int = Field(default=16, ge=0)
    """Prompts answered one at a time to measure response time; a 95th percentile takes 59, a 99th 299."""
    concurrency: list[int] = [1]
    """How many requests are served at once when response time is measured: 1, and others as [1, 4, 16]."""
    goodput: Goodput | None = None
    """Limits of a good answer: the report then counts requests a second that meet them."""
    judge: Judge | None = None
    """A model that judges answers, beside the metrics; null asks none."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    bootstrap_draws: int = Field(default=10_000, ge=100)

    @model_validator(mode="after")
    def _timed_as_asked(self) -> Self:
        levels = self.concurrency
        if levels[:1] != [1] or sorted(set(levels)) != levels:
            raise ValueError(
                f"`concurrency` begins with 1, which others are compared with, and rises: found {levels}"
            )
        if self.latency_prompts == 0 and (levels != [1] or self.goodput is not None):
            raise ValueError("`concurrency` and `goodput` are of timed prompts, and `latency_prompts` is 0")
        if levels[-1] > max(self.latency_prompts, 1):
            raise ValueError(
                f"`concurrency` {levels[-1]} needs as many timed prompts: `latency_prompts` is "
                f"{self.latency_prompts}"
            )
        return self


class Report(Section):
    """What a report is held against besides the base model, and what it is told of the data."""

    baseline: str | None = None
    """The last released report: its id under `reports/`, or its folder; null holds against none."""
    tolerance: float = Field(default=0.02, ge=0)
    """How much a rate may lose against the baseline: 0.02 is two points."""
    tolerances: dict[str, float] = {}
    """A metric's own tolerance, in its unit. A score without one is shown and decides nothing."""
    data_licences: dict[str, str] = {}
    """A source's licence, by the name that `data.json` has for it; the data card prints it."""


class Tier(Section):
    """A size of deployment: which model, adapted how, on what hardware. Selected by `tier: <name>`."""

    title: str
    licence: str
    """The model's licence, as its publisher states it."""
    needs: str = ""
    """The hardware the tier is meant for."""
    alternatives: list[str] = []
    """Other models of the tier, each `id (licence)`."""
    settings: dict[str, Any] = {}
    """Settings laid over the recipe's when the tier is chosen."""


class Config(Section):
    """A project's settings, resolved from all layers."""

    recipe: Recipe = Recipe()
    project: Project = Project()
    tier: TierName | None = None
    """Which of the recipe's tiers to lay over its defaults."""
    seed: int = Field(default=42, ge=0)
    """Seeds data, training and sampling alike."""
    data: Data = Data()
    model: Annotated[Model, BeforeValidator(name_only, json_schema_input_type=str | Model)] = Model()
    method: Annotated[MethodConfig, BeforeValidator(name_only, json_schema_input_type=str | MethodConfig)] = (
        MethodConfig()
    )
    train: Train = Train()
    tune: Tune = Tune()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()
    gates: list[Gate] = []
    claims: list[Claim] = []
    labour: Labour | None = None
    """What the cost model of labour takes for granted; without it a claim on labour is not testable."""
    tiers: dict[TierName, Tier] = {}
    hardware: Hardware = Hardware()
    tracking: Tracking = Tracking()

    @property
    def languages(self) -> list[str]:
        """The languages this project serves: its own choice, else all of the recipe's."""
        return self.project.languages or self.recipe.languages

    @property
    def metric_names(self) -> list[str]:
        """Every metric an evaluation reports, response time included where it is measured."""
        timed = ["response_time"] if self.evaluate.latency_prompts else []
        return [use.name for use in self.evaluate.metrics] + timed
