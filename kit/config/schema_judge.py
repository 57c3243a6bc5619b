"""The settings under `evaluate.judge`: a model that judges answers, by which rubric, held to which labels."""

import re
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, model_validator

from kit.config.section import Section

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


class Rubric(Section):
    """What the judge is asked of every answer. `rubric: conf/rubric.yaml` is short for `{file: …}`."""

    file: str | None = None
    """A YAML file with the other keys of this section, relative to the project."""
    question: str = ""
    """What is asked of an answer, in a sentence or more."""
    criteria: list[str] = []
    """What the judge is to look at, one thing a line."""
    labels: list[str] = []
    """The verdicts the judge chooses from, such as `[complies, violates]`."""
    good: list[str] = []
    """Those of `labels` that are no fault; every other one is."""
    scale: list[int] = []
    """The lowest and the highest grade, such as `[1, 5]`, in the place of `labels`; higher is better."""
    good_from: int | None = None
    """With `scale`: the lowest grade that is no fault."""

    @property
    def verdicts(self) -> list[str]:
        """Every verdict the judge may give, grades as text."""
        return (
            [str(grade) for grade in range(self.scale[0], self.scale[1] + 1)] if self.scale else self.labels
        )

    def is_fault(self, verdict: str) -> bool:
        """Whether a verdict finds fault with an answer."""
        if self.good_from is not None:
            return int(verdict) < self.good_from
        return verdict not in self.good

    @model_validator(mode="after")
    def _whole_or_elsewhere(self) -> Self:
        own = self.model_dump(exclude_defaults=True, exclude={"file"})
        if self.file is not None:
            if own:
                raise ValueError(
                    f"`file` holds the whole rubric: take {', '.join(sorted(own))} out, or `file`"
                )
            return self
        if not self.question.strip():
            raise ValueError("a rubric needs a `question`")
        if self.scale:
            self._check_scale()
        else:
            self._check_labels()
        return self

    def _check_scale(self) -> None:
        if self.labels or self.good:
            raise ValueError("a rubric has `labels` with `good`, or `scale` with `good_from`, not both")
        if len(self.scale) != 2 or not 1 <= self.scale[1] - self.scale[0] <= 10:
            raise ValueError(f"`scale` is the lowest and the highest grade, [1, 5] say; found {self.scale}")
        if self.good_from is None or not self.scale[0] < self.good_from <= self.scale[1]:
            raise ValueError(
                "`good_from` says which grade is the lowest that is no fault; it lies above the lowest of "
                f"the scale and not above the highest: found {self.good_from}"
            )

    def _check_labels(self) -> None:
        plain = [label.strip().casefold() for label in self.labels]
        if self.good_from is not None:
            raise ValueError("`good_from` goes with `scale`; with `labels` say `good`")
        if len(plain) < 2 or len(set(plain)) < len(plain) or "" in plain:
            raise ValueError(f"`labels` are two or more different words; found {self.labels}")
        if "unparsable" in plain:
            raise ValueError(
                "`unparsable` is what replies without a verdict are called; name the label otherwise"
            )
        if not self.good or not set(self.good) < set(self.labels):
            raise ValueError(
                f"`good` names those of `labels` that are no fault: some, not all; found {self.good} of "
                f"{self.labels}"
            )


def _file_only(value: Any) -> Any:
    return {"file": value} if isinstance(value, str) else value


def is_plain_address(url: str) -> bool:
    """Whether an endpoint's address is http(s) without user, password or query, where a key may stand."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return known and not (parts.username or parts.password or parts.query or parts.fragment)


class Judge(Section):
    """A model that judges answers, beside the rules and never in their place; off unless it is set.

    Prompts and answers are sent to it: see to it that they may leave this machine.
    """

    model: str
    """Its name at the endpoint; without `base_url` a folder with safetensors weights, or a Hub id."""
    base_url: str | None = None
    """An OpenAI-compatible endpoint, such as `http://localhost:8000/v1`; null loads the model here."""
    api_key_env: str | None = None
    """The name of the environment variable that holds the endpoint's key; never the key itself."""
    revision: str | None = None
    """The Hub commit of a local judge."""
    rubric: Annotated[Rubric, BeforeValidator(_file_only, json_schema_input_type=str | Rubric)]
    pairwise: bool = True
    """Ask as well which of the two answers is better, in both orders."""
    row_rubrics: bool = False
    """Ask as well of each criterion of a row's own `rubric` whether the answer meets it; off by default."""
    drawn_answers: bool = False
    """With `row_rubrics`: ask it of every sampled answer too (`evaluate.sampling.answers`), for the expected
    worst of k of their points. As many questions again for each answer to a prompt."""
    runs: int = Field(default=1, ge=1, le=20)
    """How often each answer is judged. The first verdict counts; the others show how often it changes."""
    labels: str | None = None
    """A JSONL file of answers that people labelled, which the judge is held to; relative to the project."""
    request: dict[str, Any] = {"temperature": 0, "max_tokens": 512}
    """Sent with every question, as the endpoint calls it; null takes a key out. A local judge answers
    greedily, with at most `max_tokens`."""
    timeout: float = Field(default=60, gt=0)
    """Seconds to a whole reply; then the question is asked again."""
    retries: int = Field(default=5, ge=0)
    """How often a question is asked again after a timeout, a lost connection or a status that may pass."""
    num_concurrent: int = Field(default=4, gt=0, le=256)
    """Questions asked at once; of a local judge the batch size."""

    @model_validator(mode="after")
    def _drawn_answers_have_criteria(self) -> Self:
        if self.drawn_answers and not self.row_rubrics:
            raise ValueError(
                "`drawn_answers` is of criteria of rows' rubrics: set `row_rubrics` to true as well"
            )
        return self

    @model_validator(mode="after")
    def _no_secret_and_a_whole_address(self) -> Self:
        # No message here repeats what was found: it may be a secret.
        if self.api_key_env is not None and not _VARIABLE.fullmatch(self.api_key_env):
            raise ValueError(
                "`api_key_env` is the name of an environment variable in capitals, such as JUDGE_API_KEY, "
                "and never the key itself; if a key stands there, it is to be replaced at its provider"
            )
        if self.base_url is None:
            if self.api_key_env is not None:
                raise ValueError("`api_key_env` goes with `base_url`; a model on this machine needs no key")
            return self
        if not is_plain_address(self.base_url):
            raise ValueError(
                "`base_url` is an http(s) address without user, password or query, such as "
                "https://judge.example/v1; a key goes into an environment variable, named by `api_key_env`"
            )
        if self.revision is not None:
            raise ValueError("`revision` is of a model on this machine; take it out, or `base_url`")
        return self
