"""Answers of a model that is served elsewhere: at an OpenAI-compatible endpoint, such as vLLM's.

The held-out prompts are asked over HTTP and the answers written as a file of answers (`kit.evaluate.given`),
which `casekit compare` holds against a run's or another endpoint's. Decoding is the server's: what is asked
of it stands in the request, what it does is not seen.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit.config.errors import DataError, Problem
from kit.evaluate.endpoint import Endpoint, ask_all, read_key, refuse_address
from kit.evaluate.generate import progress_bar
from kit.evaluate.given import GivenLine
from kit.evaluate.predictions import append_predictions, read_appended
from kit.evaluate.prompts import Prompt
from kit.files import write_json

_ANOTHER = "name another file with --out, or delete this one"


def answer_by_endpoint(endpoint: Endpoint, prompts: Sequence[Prompt], path: Path) -> int:
    """Ask every prompt that the file has no answer to yet, and append the answers as they come.

    Args:
        path: the file of answers; one that was begun is gone on with.

    Returns:
        How many replies held no text; they count as empty answers.

    Raises:
        ConfigError: the endpoint's address is none, or its key is not in the environment.
        DataError: a prompt has tools, or the file holds answers to other prompts or of another model.
        EndpointError: the endpoint failed; the answers that came are in the file.
    """
    refuse_address(endpoint)
    _refuse_tools(prompts)
    _refuse_another_model(endpoint, path)
    begun = read_appended(path, ("id", "prompt", "output"), "an answer")
    known = {prompt.id: prompt for prompt in prompts}
    for line in begun:
        if line["id"] not in known or known[line["id"]].reference["prompt"] != line["prompt"]:
            raise DataError(Problem(str(path), f"answers other prompts, such as {line['id']!r}", _ANOTHER))
    done = {line["id"] for line in begun}
    missing = {prompt.id: prompt.messages for prompt in prompts if prompt.id not in done}
    key, empty = read_key(endpoint), 0
    with progress_bar(endpoint.model) as progress:
        task = progress.add_task(endpoint.model, total=len(prompts), completed=len(done))
        for id_, reply in ask_all(endpoint, key, missing):
            empty += bool(reply.problem)
            append_predictions(path, [_line(known[id_], reply.text, reply.finished)])
            progress.advance(task)
    return empty


def _refuse_another_model(endpoint: Endpoint, path: Path) -> None:
    """Note beside the file who answers and how he is asked; refuse to go on with another's answers."""
    beside = path.with_name(f"{path.name}.asked.json")
    # Where it was asked is no part of it: a server may come back at another address.
    asked = {"model": endpoint.model, "request": dict(endpoint.request)}
    if not path.is_file() or not beside.is_file():
        if path.is_file() and path.stat().st_size:
            raise DataError(Problem(str(path), "does not say who answered (no file beside it)", _ANOTHER))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(beside, asked)
    elif (before := json.loads(beside.read_text(encoding="utf-8"))) != asked:
        changed = ", ".join(name for name in asked if before.get(name) != asked[name])
        raise DataError(Problem(str(path), f"was begun with another {changed} ({beside.name})", _ANOTHER))


def _refuse_tools(prompts: Sequence[Prompt]) -> None:
    with_tools = sum(bool(prompt.tools) for prompt in prompts)
    if with_tools:
        message = f"{with_tools} of {len(prompts)} prompts have tools, which endpoints are not given here"
        raise DataError(Problem("the test split", message, "leave such rows out of the test split"))


def _line(prompt: Prompt, output: str, finished: bool) -> dict[str, Any]:
    """A line of the file, which is told all that is known of the prompt."""
    line = GivenLine(
        id=prompt.id,
        prompt=prompt.reference["prompt"],
        output=output,
        expected=json.loads(json.dumps(prompt.expected)),
        answer=prompt.answer,
        slices=dict(prompt.slices),
        group=prompt.group,
        finished=finished,
    )
    return line.model_dump(mode="json")
