"""One question to an OpenAI-compatible endpoint: asked again where that may help, told plainly where not.

No message, log or file of ours holds the key, not even where the endpoint repeats it.
"""

import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import httpx2

from kit.config.errors import CasekitError, ConfigError, Problem
from kit.config.schema_judge import is_plain_address

Dialogue = Sequence[Mapping[str, Any]]
"""Messages of `role` and `content`, the one to be answered last."""

MOST_BYTES = 1_000_000
"""Of a reply. A verdict takes a hundred; what is longer than this is cut off there and not read."""

_AGAIN = frozenset({408, 409, 429})
"""Statuses besides 5xx that may pass by themselves."""
_LONGEST_WAIT = 60.0
_SHOWN = 200
_SHORTEST_SECRET = 8
_HALF_PAIR = re.compile("[\ud800-\udfff]")
"""JSON may spell such a half by itself; UTF-8 cannot."""


class EndpointError(CasekitError):
    """An endpoint does not answer as it should (exit code 2). What it answered before is kept."""


@dataclass(frozen=True)
class Endpoint:
    """Where a model is served, and how patiently it is asked."""

    model: str
    """Its name there."""
    base_url: str
    api_key_env: str | None
    request: Mapping[str, Any]
    """Sent with every question; null takes a key out."""
    timeout: float
    """Seconds to a whole reply."""
    retries: int
    num_concurrent: int
    who: str
    """Who answers there, as errors call it: the endpoint, the model."""
    named: Callable[[str], str]
    """How a person sets one of these, such as `evaluate.judge.timeout`."""
    again: str
    """The command that goes on from what was answered."""


@dataclass(frozen=True)
class Reply:
    """What was said; `problem` is why there is nothing to read, or empty."""

    text: str
    problem: str = ""
    finished: bool = True
    """False where the endpoint cut it off at its limit of tokens."""


@dataclass(frozen=True)
class _Failed:
    """Why a question got no answer, what to do, and how long the endpoint asked to be left alone."""

    why: str
    hint: str
    wait: float = 0.0


def parse_request(pairs: Sequence[str]) -> dict[str, Any]:
    """`temperature=0.7` as a request's key and value; what is no JSON is text, null takes a key out.

    Raises:
        ConfigError: one is no pair.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, is_pair, value = pair.partition("=")
        if not (name and is_pair):
            raise ConfigError(Problem("--request", f"{pair!r} is no KEY=JSON", "such as temperature=0"))
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def refuse_address(endpoint: Endpoint) -> None:
    """Refuse an address that is none, or that may hold a secret.

    Raises:
        ConfigError: what was found is not repeated.
    """
    if not is_plain_address(endpoint.base_url):
        message = "is no http(s) address without user, password or query, such as http://localhost:8000/v1"
        hint = f"a key goes into an environment variable, named by {endpoint.named('api_key_env')}"
        raise ConfigError(Problem(endpoint.named("base_url"), message, hint))


def read_key(endpoint: Endpoint) -> str:
    """The key from the environment; empty where the endpoint needs none.

    Raises:
        ConfigError: the variable is not set, or holds what cannot be a key. Its value is never shown.
    """
    if endpoint.api_key_env is None:
        return ""
    key = os.environ.get(endpoint.api_key_env, "").strip()
    where, hint = endpoint.named("api_key_env"), f"export {endpoint.api_key_env}=… before `{endpoint.again}`"
    if not key:
        raise ConfigError(Problem(where, f"the environment variable {endpoint.api_key_env} is not set", hint))
    if not key.isascii() or not key.isprintable() or " " in key:
        message = f"the environment variable {endpoint.api_key_env} holds blanks or signs that no key has"
        raise ConfigError(Problem(where, message, hint))
    return key


def connect(endpoint: Endpoint) -> httpx2.Client:
    """A client whose connections are shared by all threads that ask; close it when done."""
    limits = httpx2.Limits(max_connections=endpoint.num_concurrent)
    return httpx2.Client(timeout=endpoint.timeout, limits=limits, follow_redirects=False)


def ask(
    client: httpx2.Client, endpoint: Endpoint, key: str, messages: Dialogue, first_wait: float = 0.5
) -> Reply:
    """Ask one question, again and again where the failure may pass.

    Args:
        first_wait: seconds before the first repetition; twice as many before each further one (with up to
            half of them at random, so that threads do not return together), or what `Retry-After` says.

    Raises:
        EndpointError: the endpoint refuses, or all repetitions failed.
    """
    found = _once(client, endpoint, key, messages)
    for attempt in range(endpoint.retries):
        if isinstance(found, Reply):
            break
        wait = found.wait or first_wait * 2**attempt * (1 + random.random() / 2)
        time.sleep(min(wait, _LONGEST_WAIT))
        found = _once(client, endpoint, key, messages)
    if isinstance(found, Reply):
        return found
    asked = "once" if endpoint.retries == 0 else f"{endpoint.retries + 1} times"
    raise _error(endpoint, f"{found.why}; asked {asked}", found.hint)


def ask_all(
    endpoint: Endpoint,
    key: str,
    questions: Mapping[str, Dialogue],
    seeds: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[tuple[str, Reply]]:
    """Replies as they come; when one question fails for good no further one is begun, and none is lost.

    Args:
        questions: what is asked, by a name of it.
        seeds: by the same names, what else is sent as `seed`: servers that know it draw by it.

    Raises:
        EndpointError: a question failed for good; after the replies that came.
    """
    pool = ThreadPoolExecutor(endpoint.num_concurrent)
    with connect(endpoint) as client:
        try:
            asked = {
                pool.submit(ask, client, _seeded(endpoint, seeds.get(name)), key, said): name
                for name, said in questions.items()
            }
            unread = dict(asked)
            for future in as_completed(asked):
                if future.exception() is not None:
                    break
                yield unread.pop(future), future.result()
        finally:  # also where whoever reads the replies stops
            pool.shutdown(wait=True, cancel_futures=True)
        ended = {future: name for future, name in unread.items() if not future.cancelled()}
        for future, name in ended.items():
            if future.exception() is None:
                yield name, future.result()
        for future in ended:
            future.result()  # raises what went wrong


def _seeded(endpoint: Endpoint, seed: int | None) -> Endpoint:
    return endpoint if seed is None else replace(endpoint, request={**endpoint.request, "seed": seed})


def _once(client: httpx2.Client, endpoint: Endpoint, key: str, messages: Dialogue) -> Reply | _Failed:
    """One attempt: a reply, or a failure that may pass."""
    url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
    asked = {name: value for name, value in endpoint.request.items() if value is not None}
    body = {**asked, "model": endpoint.model, "messages": list(messages)}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    deadline = time.monotonic() + endpoint.timeout
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
        why = f"no whole reply within {endpoint.timeout:g} s"
        return _Failed(
            why, f"raise `{endpoint.named('timeout')}`, or lower `{endpoint.named('num_concurrent')}`"
        )
    except httpx2.RequestError as error:
        why = f"no reply ({_without(key, str(error)) or type(error).__name__})"
        return _Failed(
            why, f"check `{endpoint.named('base_url')}`, and that the server runs and can be reached"
        )
    if response.status_code == 200:
        return _read(endpoint, key, received) if whole else Reply("", f"longer than {MOST_BYTES:,} bytes")
    return _status(endpoint, key, response, received)


def _status(endpoint: Endpoint, key: str, response: httpx2.Response, body: bytes) -> _Failed:
    """A failure that may pass; one that will not is raised."""
    status = response.status_code
    said = _without(key, body.decode("utf-8", errors="replace"))
    why = f"status {status}" + (f": {said}" if said else "")
    if status in _AGAIN or status >= 500:
        hint = (
            f"lower `{endpoint.named('num_concurrent')}`, raise `{endpoint.named('retries')}`, or wait"
            if status == 429
            else "look at the server's own log, or wait"
        )
        return _Failed(why, hint, _asked_wait(response))
    address = f"`{endpoint.named('base_url')}`"
    hints = {
        401: _key_hint(endpoint),
        403: _key_hint(endpoint),
        404: f"check {address} (it often ends in /v1) and that it serves {endpoint.model!r}",
    }
    moved = f"the address has moved: correct {address}" if 300 <= status < 400 else ""
    other = f"the endpoint does not take the question as it is: see `{endpoint.named('request')}`"
    raise _error(endpoint, why, moved or hints.get(status, other))


def _key_hint(endpoint: Endpoint) -> str:
    if endpoint.api_key_env is None:
        setting = endpoint.named("api_key_env")
        return f"it asks for a key: put it in an environment variable, named by `{setting}`"
    return f"the key in {endpoint.api_key_env} is not accepted, or not for {endpoint.model!r}"


def _asked_wait(response: httpx2.Response) -> float:
    """The seconds of `Retry-After`; a date there, or none, is 0."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdecimal() else 0.0


def _read(endpoint: Endpoint, key: str, body: bytes) -> Reply:
    """The text of a chat completion.

    Raises:
        EndpointError: the body is none.
    """
    try:
        choice = json.loads(body)["choices"][0]
        message, why = choice["message"], choice.get("finish_reason")
        text = message.get("content")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        shown = _without(key, body.decode("utf-8", errors="replace"))
        hint = f"check `{endpoint.named('base_url')}`: it often ends in /v1"
        raise _error(endpoint, f"status 200 with what is no chat completion: {shown}", hint) from error
    if not isinstance(text, str) or not text.strip():
        return Reply("", f"no text ({_without(key, why)})" if isinstance(why, str) else "no text")
    return Reply(_storable(key, text), "", finished=why != "length")


def _storable(key: str, text: str) -> str:
    """A reply as it may be written to a file: without the key, and without halves of UTF-16 pairs.

    A key as short as the `EMPTY` that local servers ask for is a word that an answer may hold, and no secret.
    """
    whole = _HALF_PAIR.sub("\ufffd", text)
    return whole.replace(key, "[key]") if len(key) >= _SHORTEST_SECRET else whole


def _without(key: str, text: str) -> str:
    """A server's words on one line, shortened, without the key and without signs that steer a terminal."""
    words = " ".join((text.replace(key, "[key]") if key else text).split())
    plain = "".join(sign for sign in words if sign.isprintable())
    return plain if len(plain) <= _SHOWN else f"{plain[: _SHOWN - 1]}…"


def _error(endpoint: Endpoint, why: str, hint: str) -> EndpointError:
    kept = f"what it answered is kept: `{endpoint.again}` goes on from there"
    return EndpointError(Problem(f"{endpoint.who} at {endpoint.base_url}", why, f"{hint}; {kept}"))
