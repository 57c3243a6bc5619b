"""One question to an OpenAI-compatible endpoint: asked again where that may help, told plainly where not.

No message, log or file of ours holds the key, not even where the endpoint repeats it.
"""

import json
import os
import random
import time
from dataclasses import dataclass

import httpx2

from kit.config.errors import CasekitError, ConfigError, Problem
from kit.config.schema_judge import Judge

MOST_BYTES = 1_000_000
"""Of a reply. A verdict takes a hundred; what is longer than this is cut off there and not read."""

_AGAIN = frozenset({408, 409, 429})
"""Statuses besides 5xx that may pass by themselves."""
_LONGEST_WAIT = 60.0
_SHOWN = 200


class JudgeError(CasekitError):
    """The judge's endpoint does not answer as it should (exit code 2). What it answered before is kept."""


@dataclass(frozen=True)
class Reply:
    """What a judge said; `problem` is why there is nothing to read, or empty."""

    text: str
    problem: str = ""


@dataclass(frozen=True)
class _Failed:
    """Why a question got no answer, what to do, and how long the endpoint asked to be left alone."""

    why: str
    hint: str
    wait: float = 0.0


def read_key(judge: Judge) -> str:
    """The key from the environment; empty where the endpoint needs none.

    Raises:
        ConfigError: the variable is not set, or holds what cannot be a key. Its value is never shown.
    """
    if judge.api_key_env is None:
        return ""
    key = os.environ.get(judge.api_key_env, "").strip()
    where, hint = "evaluate.judge.api_key_env", f"export {judge.api_key_env}=… before the evaluation"
    if not key:
        raise ConfigError(Problem(where, f"the environment variable {judge.api_key_env} is not set", hint))
    if not key.isascii() or not key.isprintable() or " " in key:
        message = f"the environment variable {judge.api_key_env} holds blanks or signs that no key has"
        raise ConfigError(Problem(where, message, hint))
    return key


def connect(judge: Judge) -> httpx2.Client:
    """A client whose connections are shared by all threads that ask; close it when done."""
    limits = httpx2.Limits(max_connections=judge.num_concurrent)
    return httpx2.Client(timeout=judge.timeout, limits=limits, follow_redirects=False)


def ask(client: httpx2.Client, judge: Judge, key: str, content: str, first_wait: float = 0.5) -> Reply:
    """Ask one question, again and again where the failure may pass.

    Args:
        first_wait: seconds before the first repetition; twice as many before each further one (with up to
            half of them at random, so that threads do not return together), or what `Retry-After` says.

    Raises:
        JudgeError: the endpoint refuses, or all repetitions failed.
    """
    found = _once(client, judge, key, content)
    for attempt in range(judge.retries):
        if isinstance(found, Reply):
            break
        wait = found.wait or first_wait * 2**attempt * (1 + random.random() / 2)
        time.sleep(min(wait, _LONGEST_WAIT))
        found = _once(client, judge, key, content)
    if isinstance(found, Reply):
        return found
    asked = "once" if judge.retries == 0 else f"{judge.retries + 1} times"
    raise _error(judge, f"{found.why}; asked {asked}", found.hint)


def _once(client: httpx2.Client, judge: Judge, key: str, content: str) -> Reply | _Failed:
    """One attempt: a reply, or a failure that may pass."""
    url = f"{(judge.base_url or '').rstrip('/')}/chat/completions"
    asked = {name: value for name, value in judge.request.items() if value is not None}
    body = {**asked, "model": judge.model, "messages": [{"role": "user", "content": content}]}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    deadline = time.monotonic() + judge.timeout
    received, whole = b"", True
    try:
        with client.stream("POST", url, json=body, headers=headers) as response:
            for chunk in response.iter_bytes():
                received += chunk
                if time.monotonic() > deadline:
                    raise httpx2.ReadTimeout("the reply trickles in")
                if len(received) > MOST_BYTES:
                    whole = False
                    break
    except httpx2.TimeoutException:
        why = f"no whole reply within {judge.timeout:g} s"
        return _Failed(why, "raise `evaluate.judge.timeout`, or lower `evaluate.judge.num_concurrent`")
    except httpx2.RequestError as error:
        why = f"no reply ({_without(key, str(error)) or type(error).__name__})"
        return _Failed(why, "check `evaluate.judge.base_url`, and that the server runs and can be reached")
    if response.status_code == 200:
        return _read(judge, key, received) if whole else Reply("", f"longer than {MOST_BYTES:,} bytes")
    return _status(judge, key, response, received)


def _status(judge: Judge, key: str, response: httpx2.Response, body: bytes) -> _Failed:
    """A failure that may pass; one that will not is raised."""
    status = response.status_code
    said = _without(key, body.decode("utf-8", errors="replace"))
    why = f"status {status}" + (f": {said}" if said else "")
    if status in _AGAIN or status >= 500:
        hint = (
            "lower `evaluate.judge.num_concurrent`, raise `evaluate.judge.retries`, or wait"
            if status == 429
            else "look at the server's own log, or wait"
        )
        return _Failed(why, hint, _asked_wait(response))
    hints = {
        401: _key_hint(judge),
        403: _key_hint(judge),
        404: f"check `evaluate.judge.base_url` (it often ends in /v1) and that it serves {judge.model!r}",
    }
    moved = "the address has moved: correct `evaluate.judge.base_url`" if 300 <= status < 400 else ""
    other = "the endpoint does not take the question as it is: see `evaluate.judge.request`"
    raise _error(judge, why, moved or hints.get(status, other))


def _key_hint(judge: Judge) -> str:
    if judge.api_key_env is None:
        return "it asks for a key: put it in an environment variable, named by `evaluate.judge.api_key_env`"
    return f"the key in {judge.api_key_env} is not accepted, or not for {judge.model!r}"


def _asked_wait(response: httpx2.Response) -> float:
    """The seconds of `Retry-After`; a date there, or none, is 0."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdecimal() else 0.0


def _read(judge: Judge, key: str, body: bytes) -> Reply:
    """The text of a chat completion.

    Raises:
        JudgeError: the body is none.
    """
    try:
        choice = json.loads(body)["choices"][0]
        message, why = choice["message"], choice.get("finish_reason")
        text = message.get("content")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        shown = _without(key, body.decode("utf-8", errors="replace"))
        hint = "check `evaluate.judge.base_url`: it often ends in /v1"
        raise _error(judge, f"status 200 with what is no chat completion: {shown}", hint) from error
    if not isinstance(text, str) or not text.strip():
        return Reply("", f"no text ({why})" if isinstance(why, str) else "no text")
    return Reply(text, "")


def _without(key: str, text: str) -> str:
    """A server's words on one line, shortened, without the key and without signs that steer a terminal."""
    words = " ".join((text.replace(key, "[key]") if key else text).split())
    plain = "".join(sign for sign in words if sign.isprintable())
    return plain if len(plain) <= _SHOWN else f"{plain[: _SHOWN - 1]}…"


def _error(judge: Judge, why: str, hint: str) -> JudgeError:
    kept = "what it answered is kept: `casekit evaluate` goes on from there"
    return JudgeError(Problem(f"judge at {judge.base_url}", why, f"{hint}; {kept}"))
