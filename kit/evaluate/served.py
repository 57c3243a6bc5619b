"""Answers of a model that is served elsewhere: at an OpenAI-compatible endpoint, such as vLLM's.

The held-out prompts are asked over HTTP and the answers written as a file of answers (`kit.evaluate.given`),
which `casekit compare` holds against a run's or another endpoint's. Decoding is the server's: what is asked
of it stands in the request, what it does is not seen.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kit.config.errors import ConfigError, DataError, Problem
from kit.drawing import own_seed
from kit.evaluate.endpoint import Endpoint, Reply, ask_all, read_key, refuse_address
from kit.evaluate.generate import progress_bar
from kit.evaluate.given import GivenLine
from kit.evaluate.predictions import append_predictions, read_appended
from kit.evaluate.prompts import Prompt
from kit.evaluate.sampling import drawn_id
from kit.files import write_json

_SIGNED = 64 - 31
"""Bits that a seed is made shorter by: servers keep it in 32 bits with a sign, or in more."""
_ANOTHER = "name another file with --out, or delete this one"


def answer_by_endpoint(
    endpoint: Endpoint, prompts: Sequence[Prompt], path: Path, answers: int = 1, seed: int = 0
) -> int:
    """Ask every prompt that the file has too few answers to, and append the answers as they come.

    Args:
        path: the file of answers; one that was begun is gone on with.
        answers: so many to each prompt. With several each is asked for with a seed of its own, made of
            `seed`, the prompt's id and the answer's number: whether the server draws by it is the server's.

    Returns:
        How many replies held no text; they count as empty answers.

    Raises:
        ConfigError: the endpoint's address is none, its key is not in the environment, or the request would
            have all answers to a prompt alike.
        DataError: a prompt has tools, or the file holds answers to other prompts or of another model.
        EndpointError: the endpoint failed; the answers that came are in the file.
    """
    refuse_address(endpoint)
    _refuse_tools(prompts)
    if answers > 1:
        _refuse_like_answers(endpoint.request)
    _refuse_another_model(endpoint, path, seed if answers > 1 else None)
    begun = read_appended(path, ("id", "prompt", "output"), "an answer")
    known = {prompt.id: prompt for prompt in prompts}
    for line in begun:
        if line["id"] not in known or known[line["id"]].reference["prompt"] != line["prompt"]:
            raise DataError(Problem(str(path), f"answers other prompts, such as {line['id']!r}", _ANOTHER))
    done = {(line["id"], line.get("sample") or 0) for line in begun}
    wanted = [(prompt, sample) for sample in range(answers) for prompt in prompts]
    missing = {drawn_id(prompt.id, n): (prompt, n) for prompt, n in wanted if (prompt.id, n) not in done}
    questions = {name: prompt.messages for name, (prompt, _) in missing.items()}
    # A request with `seed: null` is to have none: some servers do not take it.
    seeded = answers > 1 and "seed" not in endpoint.request
    seeds = {name: own_seed(seed, name) >> _SIGNED for name in missing} if seeded else {}
    key, empty = read_key(endpoint), 0
    with progress_bar(endpoint.model) as progress:
        task = progress.add_task(endpoint.model, total=len(wanted), completed=len(wanted) - len(missing))
        for name, reply in ask_all(endpoint, key, questions, seeds):
            empty += bool(reply.problem)
            prompt, sample = missing[name]
            append_predictions(path, [_line(prompt, reply, sample if answers > 1 else None)])
            progress.advance(task)
    return empty


def _refuse_like_answers(request: Mapping[str, Any]) -> None:
    """Refuse several answers that would be one said several times."""
    if request.get("temperature") == 0:
        message = "more than one with temperature 0: all answers to a prompt would be alike"
        raise ConfigError(Problem("--answers", message, "add --request temperature=0.7, say"))
    if request.get("seed") is not None:
        message = "sets one `seed` for all, and several answers to a prompt would be alike"
        raise ConfigError(
            Problem("--request", message, "leave it out, each answer gets its own; or seed=null for none")
        )


def _refuse_another_model(endpoint: Endpoint, path: Path, seed: int | None) -> None:
    """Note beside the file who answers and how he is asked; refuse to go on with another's answers."""
    beside = path.with_name(f"{path.name}.asked.json")
    # Where it was asked is no part of it: a server may come back at another address.
    asked: dict[str, Any] = {"model": endpoint.model, "request": dict(endpoint.request)}
    asked |= {} if seed is None else {"seed": seed}
    if not path.is_file() or not beside.is_file():
        if path.is_file() and path.stat().st_size:
            raise DataError(Problem(str(path), "does not say who answered (no file beside it)", _ANOTHER))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(beside, asked)
    elif (before := json.loads(beside.read_text(encoding="utf-8"))) != asked:
        changed = ", ".join(name for name in (asked | before) if before.get(name) != asked.get(name))
        raise DataError(Problem(str(path), f"was begun with another {changed} ({beside.name})", _ANOTHER))


def _refuse_tools(prompts: Sequence[Prompt]) -> None:
    with_tools = sum(bool(prompt.tools) for prompt in prompts)
    if with_tools:
        message = f"{with_tools} of {len(prompts)} prompts have tools, which endpoints are not given here"
        raise DataError(Problem("the test split", message, "leave such rows out of the test split"))


def _line(prompt: Prompt, reply: Reply, sample: int | None) -> dict[str, Any]:
    """A line of the file, which is told all that is known of the prompt."""
    line = GivenLine(
        id=prompt.id,
        prompt=prompt.reference["prompt"],
        output=reply.text,
        expected=json.loads(json.dumps(prompt.expected)),
        answer=prompt.answer,
        slices=dict(prompt.slices),
        group=prompt.group,
        finished=reply.finished,
        sample=sample,
    )
    return line.model_dump(mode="json")
