"""Every setting of a project, once: name, type, range, default and what it means.

This file is the single source of truth. `casekit config --schema` prints it as JSON Schema, the
generated YAML points at that schema, and the loader refuses whatever is not named here. Defaults
here are the `kit default` layer; a recipe, a tier, a project and the command line lie on top.
"""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from kit.config.gates import Claim, Gate
from kit.config.section import Section

Stage = Literal["pretrain", "sft", "dpo", "kto", "orpo"]
PreferenceLoss = Literal[
    "sigmoid",
    "sigmoid_norm",
    "hinge",
    "ipo",
    "robust",
    "exo_pair",
    "nca_pair",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
    "simpo",
    "kto",
    "apo_zero_unpaired",
    "orpo",
]
Method = Literal["full", "lora", "qlora"]
TierName = Literal["tiny", "startup", "medium", "large"]
Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio"]
Severity = Literal["reject", "report", "off"]
FormKind = Literal["secret", "email", "iban", "card", "national_id", "medical_record", "ip", "phone"]
PersonalKind = Literal[FormKind, "name"]


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


class Source(Section):
    """One place that rows come from. Exactly one of `path`, `hub` and `grammar` is given."""

    path: str | None = None
    """A file, a folder or a pattern (`data/raw/*.jsonl`), relative to the project: .jsonl, .json, .csv, .tsv,
    .parquet, .arrow, .xlsx; .txt and .md for pretraining; text files also packed (.gz, .bz2, .xz, .zst)."""
    sheet: str | None = None
    """The sheet of an .xlsx workbook; null is the first."""
    hub: str | None = None
    """A dataset id on the Hugging Face Hub, `owner/name` or `owner/name:split`."""
    grammar: str | None = None
    """A phrase grammar (`conf/dialogues.yaml`) that is turned into synthetic dialogues."""
    dialogues: int = Field(default=2000, gt=0)
    """How many dialogues to make from a grammar."""
    format: str = "auto"
    """`auto`, `messages`, `alpaca`, `sharegpt`, `prompt_completion`, `text` (documents, for pretraining);
    for dpo and orpo `preference`, `preference_implicit`, `preference_sharegpt`, `preference_messages`,
    `preference_alpaca`; or a reader of the project's hooks."""
    columns: dict[str, str] = {}
    """Renames before reading: our column name -> theirs, such as `prompt: question`."""
    split: Literal["auto", "train", "valid", "test"] = "auto"
    """Puts the whole source in one split; `auto` splits it as `data.split` says."""
    weight: float | None = Field(default=None, gt=0)
    """Its share of the mix: sources with weights are cut down until their rows are as their weights."""
    max_rows: int | None = Field(default=None, gt=0)
    """At most so many rows of it, chosen by content hash; of a folder or pattern, in all."""
    revision: str | None = None
    """The commit of a Hub dataset, so that tomorrow's data is today's."""

    @model_validator(mode="after")
    def _exactly_one_place(self) -> Self:
        if sum(place is not None for place in (self.path, self.hub, self.grammar)) != 1:
            raise ValueError("a source names exactly one of `path`, `hub` and `grammar`")
        if self.sheet is not None and not (self.path or "").lower().endswith(".xlsx"):
            raise ValueError("`sheet` is of an .xlsx workbook, and `path` names none")
        if self.max_rows is not None and self.grammar:
            raise ValueError("`max_rows` is for files and Hub datasets; `dialogues` is a grammar's number")
        return self


class Split(Section):
    """How rows are divided. Deterministic by content: the same rows land in the same split anywhere."""

    column: str | None = None
    """A column of the data that names each row's split (train, valid/validation/dev, test)."""
    group_by: str | None = None
    """A column whose equal values never straddle splits: patient, ticket, customer, product."""
    valid: float = Field(default=0.1, ge=0, lt=1)
    """Share of the groups for validation, where no column names the split."""
    test: float = Field(default=0.1, ge=0, lt=1)
    """Share of the groups for the final test, where no column names the split."""

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError("`valid` and `test` together must leave something to train on (sum < 1)")
        return self


class Checks(Section):
    """What makes a row unfit. A rejected row is listed in `rejected.jsonl` with file, line and reason."""

    duplicates: Literal["reject", "report"] = "reject"
    """Rows equal to an earlier one after Unicode NFKC, case and white space."""
    conflicts: Literal["reject", "report"] = "reject"
    """Rows that answer another row's prompt differently."""
    conflicts_keep: Literal["first", "majority", "none"] = "first"
    """Which of differing answers to one question, or nearly one, stays: the first row's, that of the most
    rows (as read), or none."""
    overlap: Literal["reject", "report"] = "reject"
    """Training rows whose prompt also stands in valid or test; the training row goes."""
    benchmark: Literal["reject", "report"] = "reject"
    """Rows of train and valid with a text that stands, or nearly, in a file of `data.benchmarks`."""
    near_overlap: Literal["reject", "report", "off"] = "reject"
    """Training rows whose prompt nearly stands in valid or test; the training row goes."""
    near_duplicate: Literal["reject", "report", "off"] = "report"
    """Rows whose every turn is nearly that of an earlier row."""
    near_conflict: Literal["reject", "report", "off"] = "report"
    """Rows that answer nearly the prompt of an earlier row differently."""
    near_similarity: float = Field(default=0.8, ge=0.75, le=1)
    """How alike near texts are: the Jaccard index of their four-letter pieces; numbers must be the same."""
    advised_tokens: tuple[int, int] = Field(default=(200, 500), strict=False)  # YAML has lists only
    """The advised length of a dialogue in tokens; outside it is counted, not rejected."""
    language: Severity = "report"
    """Turns in a language that is not among the project's, answers in another than their question."""
    encoding: Severity = "report"
    """Wrongly decoded text (`Ã©` for `é`), replacement and control characters."""
    html: Severity = "report"
    """HTML tags and entities."""
    template_marks: Severity = "report"
    """Marks of chat templates and prompts, unfilled placeholders, "as an AI"."""
    boilerplate: Severity = "report"
    """Answers with a sentence that stands in more than 5% of all rows."""
    repetition: Severity = "report"
    """Answers in which over half of the word 4-grams came before."""
    refusal: Severity = "report"
    """Answers that decline."""
    balance: Literal["report", "off"] = "report"
    """Rare slices, one-sided labels, answer lengths that differ between slices. No row is at fault."""
    custom: dict[str, Severity] = {}
    """Checks of the project's hooks, and what becomes of a row that they find a fault in."""

    @model_validator(mode="after")
    def _advice_begins_before_it_ends(self) -> Self:
        low, high = self.advised_tokens
        if low > high:
            raise ValueError(f"`advised_tokens` begins at {low}, above its end {high}")
        return self


class Data(Section):
    """The data contract: where rows come from, what is checked, how they are split."""

    sources: list[Source] = []
    """Everything to read, in order."""
    system_prompt: str | None = None
    """Put before every dialogue that brings no system message, in training and in serving alike."""
    expected: list[str] = []
    """Columns that metrics need (labels, facts); kept with each row as its `expected`."""
    slices: list[str] = []
    """Columns by which the report breaks scores down, such as `language` or `topic`."""
    cleaners: list[str] = []
    """Cleaners of the project's hooks, applied in this order before the checks."""
    personal: Literal["report", "mask", "reject"] = "report"
    """What becomes of personal data and secrets: counted; replaced by marks such as `[EMAIL_1]`, which are
    the same wherever the value stands in a dialogue; or the row goes."""
    personal_kinds: list[PersonalKind] = list(get_args(FormKind))
    """Which kinds of personal data are looked for; `name` is of people, and needs `name_models`."""
    name_models: dict[str, str] = {}
    """What finds names of people: for each of the project's languages the package or folder of a spaCy
    pipeline, such as `en: en_core_web_lg`. Takes `pip install 'casekit[names]'`."""
    personal_keep: list[str] = []
    """Values that are no person's and stay, such as the own hotline; `@bank.example` keeps a whole domain."""
    benchmarks: list[str] = []
    """Files of benchmarks, relative to the project; rows to learn from must not hold their texts."""
    over_length: Literal["error", "drop", "split", "truncate-prompt"] = "drop"
    """What becomes of a training dialogue over `model.max_length`: preparing stops; the row goes; it is
    trained in several samples, each answer once; its prompt loses its beginning. An answer is never cut,
    and rows of valid and test stay whole or go."""
    split: Split = Split()
    checks: Checks = Checks()
    num_proc: int | None = Field(default=None, ge=1)
    """Processes that work on rows; null takes one a processor, where the rows are many. What comes out does
    not depend on it."""


def _name_only(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


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


class MethodConfig(Section):
    """How parameters are adapted. `method: lora` is short for `method: {name: lora}`."""

    name: Method = "lora"
    rank: int = Field(default=8, gt=0)
    """LoRA rank r (Hu et al. 2021)."""
    alpha: int = Field(default=16, gt=0)
    """LoRA scale: updates are multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input."""
    target_modules: str | list[str] = "all-linear"
    """Layers that get an adapter."""
    double_quantization: bool = True
    """QLoRA only: quantise the NF4 scales as well (Dettmers et al. 2023)."""


class Preference(Section):
    """Learning from preferences: how far the model may go from where it began, and by which loss."""

    beta: float | None = Field(default=None, gt=0)
    """How strongly the model is held to the reference: the higher, the closer it stays (`ipo`: tau). For
    `simpo` the scale of the reward, for `orpo` the share of the odds ratio in the loss (lambda). null is
    what is usual: 0.1, and 2 for `simpo`."""
    loss_type: list[PreferenceLoss] = []
    """Losses, summed; empty is the stage's own: `sigmoid` (Rafailov et al. 2023) for dpo, `kto`, `orpo`."""
    loss_weights: list[float] = []
    """dpo: a factor for each of `loss_type`; empty is 1 for all."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """dpo, losses `robust`, `exo_pair`, `aot` and `aot_unpaired`: the share of pairs stated wrongly."""
    simpo_gamma: float = Field(default=0.5, ge=0)
    """dpo, loss `simpo`: by how much the chosen answer is to be ahead (Meng et al. 2024)."""
    desirable_weight: float = Field(default=1.0, gt=0)
    """kto: a factor for the loss of answers labelled true."""
    undesirable_weight: float = Field(default=1.0, gt=0)
    """kto: a factor for the loss of answers labelled false."""


class Train(Section):
    """The training run. The defaults are the seed's example profile: 3e-5, batch 32, 5 epochs."""

    stage: Stage = "sft"
    """`sft` learns the assistant's turns; `pretrain` every token; `dpo` and `orpo` pairs of a chosen and
    a rejected answer, measured against the base or without; `kto` answers labelled good or bad."""
    learning_rate: float = Field(default=3e-5, gt=0)
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup_ratio: float = Field(default=0.03, ge=0, lt=1)
    """Share of all steps over which the rate rises from zero."""
    num_train_epochs: float = Field(default=5, gt=0)
    max_steps: int = Field(default=-1, ge=-1)
    """Stops after this many optimiser steps; -1 means `num_train_epochs` decides."""
    global_batch_size: int = Field(default=32, gt=0)
    """Sequences per optimiser step, over all devices and accumulation."""
    per_device_train_batch_size: int = Field(default=8, gt=0)
    """Sequences per forward pass, where they are not packed; the accumulation steps follow."""
    packing: bool = False
    """Join the sequences of a global batch in rows of at most `model.max_length` tokens, kept apart; a
    forward pass is then one row. The steps see what they see unpacked."""
    per_device_eval_batch_size: int = Field(default=16, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    logging_steps: int = Field(default=10, gt=0)
    eval_steps: int = Field(default=100, gt=0)
    """Validate every so many steps."""
    save_steps: int = Field(default=100, gt=0)
    """Write a checkpoint every so many steps."""
    save_total_limit: int = Field(default=3, gt=0)
    """Checkpoints kept besides the golden one."""
    early_stopping_patience: int = Field(default=3, gt=0)
    """Stop after this many evaluations without a better task score."""
    golden_metric: str | None = None
    """The metric whose validation score picks the golden checkpoint; null takes the first of `evaluate`."""
    golden_prompts: int = Field(default=64, gt=0)
    """How many validation prompts are answered at each evaluation to get that score."""
    preference: Preference = Preference()

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        if not self.packing and self.global_batch_size % self.per_device_train_batch_size:
            raise ValueError(
                f"`global_batch_size` ({self.global_batch_size}) must be a multiple of "
                f"`per_device_train_batch_size` ({self.per_device_train_batch_size})"
            )
        return self


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


class Evaluate(Section):
    """Base against tuned on the same held-out prompts."""

    metrics: list[
        Annotated[MetricUse, BeforeValidator(_name_only, json_schema_input_type=str | MetricUse)]
    ] = []
    """What is measured, most important first; each metric once."""
    max_prompts: int = Field(default=400, gt=0)
    """How many test prompts are used; chosen by content hash, so the same ones every time."""
    max_new_tokens: int = Field(default=160, gt=0)
    """Longest answer. An answer that reaches it counts as cut."""
    batch_size: int = Field(default=32, gt=0)
    """Prompts answered at once; prompts of like length share a batch."""
    sampling: Sampling = Sampling()
    latency_prompts: int = Field(default=16, ge=0)
    """Prompts answered one at a time to measure response time."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    bootstrap_draws: int = Field(default=10_000, ge=100)


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


class Hardware(Section):
    """Where the work runs."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes the GPU where there is one."""
    num_threads: int | None = Field(default=None, gt=0)
    """CPU threads for torch; null leaves torch's choice."""


class Tracking(Section):
    """Where curves go besides `metrics.jsonl`, which is always written."""

    report_to: list[Tracker] = ["tensorboard"]


class Config(Section):
    """A project's settings, resolved from all layers."""

    recipe: Recipe = Recipe()
    project: Project = Project()
    tier: TierName | None = None
    """Which of the recipe's tiers to lay over its defaults."""
    seed: int = Field(default=42, ge=0)
    """Seeds data, training and sampling alike."""
    data: Data = Data()
    model: Annotated[Model, BeforeValidator(_name_only, json_schema_input_type=str | Model)] = Model()
    method: Annotated[
        MethodConfig, BeforeValidator(_name_only, json_schema_input_type=str | MethodConfig)
    ] = MethodConfig()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    gates: list[Gate] = []
    claims: list[Claim] = []
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
