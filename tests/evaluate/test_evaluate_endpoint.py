"""Questions over HTTP: what is asked again, what is told, and that the key is in no message."""

import json
import socket

import pytest
from judge_stub import Says, endpoint, verdict

from kit.config.errors import ConfigError
from kit.config.schema_judge import Judge
from kit.evaluate import endpoint as endpoint_module
from kit.evaluate.endpoint import EndpointError, ask, connect, read_key
from kit.evaluate.judge import endpoint_of
from kit.evaluate.predictions import append_predictions, read_lines

RUBRIC = {"question": "q", "labels": ["complies", "violates"], "good": ["complies"]}
KEY = "sk-not-a-real-key-1234"


def judge(base_url, **changes):
    settings = {"model": "m", "base_url": base_url, "rubric": RUBRIC, "retries": 2, "timeout": 5}
    return endpoint_of(Judge.model_validate({**settings, **changes}))


def put(answer, key=KEY, **changes):
    with endpoint(answer) as stub:
        settings = judge(stub.base_url, **changes)
        with connect(settings) as client:
            asked = [{"role": "user", "content": "Is it?"}]
            return ask(client, settings, key, asked, first_wait=0.01), stub


def refused(answer, **changes):
    with pytest.raises(EndpointError) as error:
        put(answer, api_key_env="JUDGE_KEY", **changes)
    text = str(error.value)
    assert KEY not in text and "what it answered is kept" in text
    return text


def test_a_question_carries_model_request_and_key():
    reply, stub = put(
        lambda *_: verdict("complies"), request={"temperature": 0, "max_tokens": None, "seed": 3}
    )
    assert json.loads(reply.text)["verdict"] == "complies" and reply.problem == ""
    (asked,) = stub.asked
    assert asked == {
        "model": "m",
        "messages": [{"role": "user", "content": "Is it?"}],
        "temperature": 0,
        "seed": 3,
        "authorization": f"Bearer {KEY}",
    }


def test_no_key_no_header():
    _, stub = put(lambda *_: verdict("complies"), key="")
    assert stub.asked[0]["authorization"] is None


@pytest.mark.parametrize("status", [429, 500, 503, 408])
def test_what_may_pass_is_asked_again(status):
    reply, stub = put(lambda _, n: Says("busy", status) if n < 3 else verdict("complies"))
    assert reply.text and len(stub.asked) == 3


def test_the_endpoint_may_say_how_long_to_wait(monkeypatch):
    waits = []
    monkeypatch.setattr(endpoint_module.time, "sleep", waits.append)
    busy = Says("busy", 429, headers={"retry-after": "7"})
    late = Says("busy", 429, headers={"retry-after": "99999"})
    put(lambda _, n: {1: busy, 2: late}.get(n, verdict("complies")))
    assert [wait for wait in waits if wait >= 1] == [7.0, 60.0]


def test_a_server_that_always_fails_is_told():
    text = refused(lambda *_: Says(raw=f"boom {KEY}\x1b[31m".encode(), status=500))
    assert "status 500: boom [key][31m; asked 3 times" in text and "\x1b" not in text


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "the key in JUDGE_KEY is not accepted"),
        (403, "the key in JUDGE_KEY is not accepted"),
        (404, "check `evaluate.judge.base_url`"),
        (400, "see `evaluate.judge.request`"),
        (302, "the address has moved"),
    ],
)
def test_what_will_not_pass_is_told_at_once(status, hint):
    asked = []

    def answer(content, number):
        asked.append(number)
        body = json.dumps({"error": {"message": f"no, {KEY} <script>"}}).encode()
        return Says(raw=body, status=status, headers={"location": "/elsewhere"})

    text = refused(answer)
    assert f"status {status}" in text and hint in text and asked == [1]


def test_a_timeout_is_told_with_its_seconds():
    text = refused(lambda *_: Says("late", seconds=0.6), timeout=0.2, retries=1)
    assert "no whole reply within 0.2 s; asked 2 times" in text and "evaluate.judge.timeout" in text


def test_nobody_there_is_told():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        settings = judge(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", retries=0)
        with connect(settings) as client, pytest.raises(EndpointError, match=r"no reply .*; asked once"):
            ask(client, settings, "", [{"role": "user", "content": "q"}])


def test_a_body_that_cannot_be_unpacked_is_told():
    text = refused(lambda *_: Says(raw=b"no gzip", headers={"content-encoding": "gzip"}))
    assert "no reply (" in text and "asked 3 times" in text


@pytest.mark.parametrize("raw", [b"<html>login</html>", b'{"choices": []}', b"[]", b'{"choices": [', b"null"])
def test_a_body_that_is_no_chat_completion_is_told(raw):
    assert "status 200 with what is no chat completion" in refused(lambda *_: Says(raw=raw))


def test_a_huge_reply_is_cut_off_and_not_read():
    reply, _ = put(lambda *_: verdict("complies", reason="x" * 3_000_000))
    assert reply.text == "" and reply.problem == "longer than 1,000,000 bytes"


@pytest.mark.parametrize("content", [None, "", [{"type": "text"}]])
def test_a_reply_without_text_is_no_reply(content):
    body = json.dumps({"choices": [{"message": {"content": content}, "finish_reason": "length"}]}).encode()
    assert put(lambda *_: Says(raw=body))[0].problem == "no text (length)"


def test_a_reply_that_repeats_the_key_is_kept_without_it():
    said = json.dumps({"reason": f"you sent {KEY}", "verdict": "complies"})
    assert json.loads(put(lambda *_: Says(said))[0].text)["reason"] == "you sent [key]"
    assert put(lambda *_: Says("The box is EMPTY."), key="EMPTY")[0].text == "The box is EMPTY."
    choice = {"message": {"content": ""}, "finish_reason": f"stopped\x1b[31m by {KEY}"}
    body = json.dumps({"choices": [choice]}).encode()
    assert put(lambda *_: Says(raw=body))[0].problem == "no text (stopped[31m by [key])"


def test_half_a_pair_of_signs_does_not_stop_the_evaluation(tmp_path):
    """`\\ud83d` alone is JSON and no text; a whole pair is."""
    body = rb'{"choices": [{"message": {"content": "Well \ud83d. \ud83d\ude00"}}]}'
    reply, _ = put(lambda *_: Says(raw=body))
    assert reply.text == "Well \ufffd. \U0001f600"
    append_predictions(tmp_path / "judge.jsonl", [{"reply": reply.text}])
    assert read_lines(tmp_path / "judge.jsonl") == [{"reply": reply.text}]


@pytest.mark.parametrize("value", ["", "  ", "two words", "ä", "a\nb"])
def test_a_key_that_cannot_be_one_is_told_and_not_shown(value, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", value)
    with pytest.raises(ConfigError) as error:
        read_key(judge("http://127.0.0.1/v1", api_key_env="JUDGE_KEY"))
    assert "JUDGE_KEY" in str(error.value)
    assert not value.strip() or value not in str(error.value)


def test_the_key_is_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", f" {KEY}\n")
    assert read_key(judge("http://127.0.0.1/v1", api_key_env="JUDGE_KEY")) == KEY
    assert read_key(judge("http://127.0.0.1/v1")) == ""
