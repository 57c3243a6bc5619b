"""The judge: what it is asked about the answers of an evaluation, each question once.

`judge.jsonl` in the evaluation's folder holds every reply under the hash of what was asked: judge, request,
rubric, conversation and answer. So a second run asks nothing, an interrupted one goes on where it stopped,
and another rubric asks anew. `judge.json` says whose replies a judge on this machine gave, so that the saved
ones can be read where its weights are not.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.config.errors import CasekitError, DataError, Problem
from kit.config.schema import Config, Model
from kit.config.schema_judge import Judge, Rubric
from kit.evaluate.endpoint import Endpoint, Reply, ask_all, read_key
from kit.evaluate.judge_criteria import JudgedCriteria, ask_criteria
from kit.evaluate.judge_labels import Labelled, LabelRow, labelled, read_labels
from kit.evaluate.judge_questions import Asking, Pair, Question, settle
from kit.evaluate.predictions import Key, Line, append_predictions, read_appended
from kit.evaluate.prompts import Prompt
from kit.evaluate.rubric import (
    UNPARSABLE,
    load_rubric,
    read_verdict,
)
from kit.evaluate.timing import SYSTEMS
from kit.evaluate.validity import invalid_reason
from kit.files import sha256_file, sha256_json, write_json

FILE = "judge.jsonl"
WHO = "judge.json"
_KEPT = 2_000
"""Characters of a reply that are kept for people; the verdict was read from all of it."""


class MissingRepliesError(CasekitError):
    """Saved replies are to be enough, and some are not there (exit code 2); a problem for every one."""


@dataclass(frozen=True)
class ReadyJudge:
    """A judge whose rubric, labels and key were read, before any answer is made."""

    settings: Judge
    rubric: Rubric
    labels: list[LabelRow]
    key: str
    ask: bool = True
    """False: only saved replies count, nothing is sent, loaded or written."""


@dataclass(frozen=True)
class Judged:
    """Everything the judge said."""

    ready: ReadyJudge
    verdicts: dict[str, list[str | None]]
    """For each system a verdict a prompt, `unparsable` among them; None where the answer is invalid."""
    pairs: list[Pair]
    """One a prompt; empty where pairs are not asked about."""
    labelled: list[Labelled]
    labels_left_out: int
    """Labels of answers that are not in this evaluation, or are invalid."""
    repeated: dict[str, list[list[str]]] = field(default_factory=dict)
    """For each system and judged answer all its verdicts, where each is asked for more than once."""
    criteria: JudgedCriteria | None = None
    """What it said of the criteria of rows' rubrics, where it is asked about them."""


def ready_judge(config: Config, root: Path, ask: bool = True) -> ReadyJudge | None:
    """The judge of the settings, checked before any work is done; None where there is none.

    Args:
        ask: False reads saved replies only, which takes neither the key nor the weights.

    Raises:
        ConfigError: its rubric or its key is not there.
        DataError: its labels cannot be used.
    """
    settings = config.evaluate.judge
    if settings is None:
        return None
    rubric = load_rubric(settings.rubric, root)
    labels = []
    if settings.labels:
        path = root / settings.labels
        labels = read_labels(path, rubric, config.data.slices, settings.row_rubrics)
    key = read_key(endpoint_of(settings)) if ask and settings.base_url else ""
    return ReadyJudge(settings, rubric, labels, key, ask)


def judge_hash(config: Config, root: Path) -> str | None:
    """A hash of everything that the judge's part of the scores depends on besides the answers."""
    settings = config.evaluate.judge
    if settings is None:
        return None
    files = [root / name for name in (settings.rubric.file, settings.labels) if name]
    told = settings.model_dump(
        mode="json", include={"model", "base_url", "revision", "rubric", "request", "pairwise", "runs"}
    )
    told |= {"row_rubrics": True} if settings.row_rubrics else {}
    told |= {"drawn_answers": True} if settings.drawn_answers else {}
    return sha256_json([told, [sha256_file(path) for path in files if path.is_file()]])


def judge_answers(
    ready: ReadyJudge,
    config: Config,
    prompts: Sequence[Prompt],
    predictions: Mapping[Key, Line],
    folder: Path,
) -> Judged:
    """Ask about every greedy answer that has not been asked about, and read all verdicts.

    Args:
        predictions: an answer for every prompt and system.
        folder: the evaluation's, which holds the replies.

    Raises:
        DataError: nobody is to be asked, and it is not known who gave the saved replies; a row's rubric, or
            the label of a criterion, cannot be used.
        EndpointError: the endpoint failed; what it answered is kept.
        MissingRepliesError: nobody is to be asked, and replies are not there.
        ModelError: a local judge cannot be loaded.
    """
    asking = Asking(ready.rubric, _who(ready, folder))
    answers = {system: [_answer(predictions, prompt, system) for prompt in prompts] for system in SYSTEMS}
    single = {
        system: [
            asking.one(prompt.messages, text, f"{prompt.id} {system}")
            for prompt, text in zip(prompts, answers[system], strict=True)
        ]
        for system in SYSTEMS
    }
    pairs = []
    if ready.settings.pairwise:
        both = zip(prompts, answers["base"], answers["tuned"], strict=True)
        pairs = [asking.two(prompt, base, tuned) for prompt, base, tuned in both]
    labels = [(row, asking.label(row, prompts, answers)) for row in ready.labels if row.criterion is None]
    criteria = None
    if ready.settings.row_rubrics:
        of_criteria = [row for row in ready.labels if row.criterion is not None]
        drawn = _drawn(config, prompts, predictions) if ready.settings.drawn_answers else []
        criteria = ask_criteria(asking, prompts, answers, of_criteria, ready.settings.runs, drawn)
    runs = range(1, ready.settings.runs)
    again = {
        system: [[q, *(asking.again(q, run) for run in runs)] for q in single[system] if q and runs]
        for system in SYSTEMS
    }
    replies = _replies(ready, asking.questions, folder, config)

    def said(question: Question) -> str:
        return replies[question.key] or UNPARSABLE

    def verdict(question: Question | None) -> str | None:
        return None if question is None else said(question)

    by_id = {prompt.id: prompt for prompt in prompts}
    rows = [labelled(row, by_id, said(question)) for row, question in labels if question is not None]
    return Judged(
        ready=ready,
        verdicts={system: [verdict(question) for question in single[system]] for system in SYSTEMS},
        pairs=[pair if isinstance(pair, Pair) else settle(*(verdict(q) for q in pair)) for pair in pairs],
        labelled=rows,
        labels_left_out=len(labels) - len(rows),
        repeated={s: [[said(q) for q in each] for each in again[s]] for s in SYSTEMS},
        criteria=criteria.settle(said, prompts) if criteria else None,
    )


def _drawn(
    config: Config, prompts: Sequence[Prompt], predictions: Mapping[Key, Line]
) -> list[dict[str, list[str | None]]]:
    """Both systems' first, second, … sampled answer to every prompt."""
    return [
        {s: [_answer(predictions, prompt, s, "sampled", sample) for prompt in prompts] for s in SYSTEMS}
        for sample in range(config.evaluate.sampling.answers)
    ]


def _answer(
    predictions: Mapping[Key, Line], prompt: Prompt, system: str, decoding: str = "greedy", sample: int = 0
) -> str | None:
    """A system's answer; None for an invalid one, which is not for a judge to call good."""
    line = predictions[prompt.id, system, decoding, sample]
    return None if invalid_reason(line["output"], line["finished"]) else str(line["output"])


def _who(ready: ReadyJudge, folder: Path) -> dict[str, Any]:
    """What tells one judge from another: not where it runs, but a local one's weights."""
    settings = ready.settings
    who = settings.model_dump(mode="json", include={"model", "revision", "request"})
    if settings.base_url is not None:
        return who
    if not ready.ask:
        return {**who, "weights": _saved_weights(folder / WHO)}
    from kit.models.loading import model_folder, weights_sha256

    who["weights"] = weights_sha256(model_folder(_model(settings)))
    write_json(folder / WHO, who)
    return who


def _saved_weights(path: Path) -> str:
    """The hash of the weights that gave the saved replies."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["weights"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = "does not say which weights gave the judge's replies"
        raise DataError(Problem(str(path), what, "run `casekit evaluate` again")) from error


def _model(settings: Judge) -> Model:
    return Model(name=settings.model, revision=settings.revision)


def _replies(
    ready: ReadyJudge, questions: Mapping[str, Question], folder: Path, config: Config
) -> dict[str, str | None]:
    """The verdict of every question, asked where it is not kept; None for replies that cannot be read."""
    path = folder / FILE
    kept = {
        line["key"]: line["verdict"] for line in read_appended(path, ("key", "verdict"), "a judge's reply")
    }
    missing = [question for key, question in questions.items() if key not in kept]
    if not missing:
        return kept
    if not ready.ask:
        what = "holds no reply of the judge to this question"
        raise MissingRepliesError([Problem(f"{FILE}: {question.about}", what) for question in missing])
    from kit.evaluate.generate import progress_bar

    ask_all = _ask_local if ready.settings.base_url is None else _ask_endpoint
    with progress_bar("judge") as progress:
        task = progress.add_task("judge", total=len(questions), completed=len(questions) - len(missing))
        for question, reply in ask_all(ready, missing, config):
            verdict = None if reply.problem else read_verdict(reply.text, question.allowed)
            line = {
                "key": question.key,
                "about": question.about,
                "verdict": verdict,
                "reply": reply.text[:_KEPT],
                "problem": reply.problem or ("" if verdict else "states no verdict, or more than one"),
            }
            append_predictions(path, [line])
            kept[question.key] = verdict
            progress.advance(task)
    return kept


def endpoint_of(judge: Judge) -> Endpoint:
    """Where a judge that is served elsewhere is asked."""
    return Endpoint(
        model=judge.model,
        base_url=judge.base_url or "",
        api_key_env=judge.api_key_env,
        request=judge.request,
        timeout=judge.timeout,
        retries=judge.retries,
        num_concurrent=judge.num_concurrent,
        who="judge",
        named="evaluate.judge.{}".format,
        again="casekit evaluate",
    )


def _ask_endpoint(
    ready: ReadyJudge, questions: Sequence[Question], config: Config
) -> Iterator[tuple[Question, Reply]]:
    """Replies as they come (`kit.evaluate.endpoint.ask_all`)."""
    by_key = {question.key: question for question in questions}
    asked = {key: [{"role": "user", "content": question.content}] for key, question in by_key.items()}
    for key, reply in ask_all(endpoint_of(ready.settings), ready.key, asked):
        yield by_key[key], reply


def _ask_local(
    ready: ReadyJudge, questions: Sequence[Question], config: Config
) -> Iterator[tuple[Question, Reply]]:
    """Replies of a model on this machine, a batch at a time."""
    from kit.evaluate.generate import generate
    from kit.models.loading import load_model, load_tokenizer

    settings, hardware = ready.settings, config.hardware
    model, tokenizer = load_model(_model(settings), hardware), load_tokenizer(_model(settings))
    most = settings.request.get("max_tokens") or 512
    for start in range(0, len(questions), settings.num_concurrent):
        batch = questions[start : start + settings.num_concurrent]
        asked = [
            Prompt(
                id=q.key, messages=[{"role": "user", "content": q.content}], expected={}, slices={}, group=""
            )
            for q in batch
        ]
        answers = generate(
            model,
            tokenizer,
            asked,
            decoding="greedy",
            max_new_tokens=int(most),
            batch_size=len(asked),
            seed=config.seed,
            sampling=config.evaluate.sampling,
        )
        for question, answer in zip(batch, answers, strict=True):
            yield question, Reply(answer.output)
