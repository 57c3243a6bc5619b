"""The settings under `data`: sources, checks, split. `kit.config.schema` has the others."""

from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from kit.config.schema_train import Stage
from kit.config.section import Section

Severity = Literal["reject", "report", "off"]
FormKind = Literal["secret", "email", "iban", "card", "national_id", "medical_record", "ip", "phone"]
PersonalKind = Literal[FormKind, "name"]


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
    stages: list[Stage] = []
    """Which of several stages learn from it; empty are all that can. Named, the stages that learn whole
    dialogues also take the chosen answers of pairs, and answers labelled true."""
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
    """The advised length of a dialogue in tokens; outside it is counted, not rejected. Synthetic dialogues,
    which are as long as their grammar has it, do not count."""
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
