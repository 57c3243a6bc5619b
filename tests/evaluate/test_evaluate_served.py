"""Prompts answered by a model that is served elsewhere, over HTTP, and what `casekit compare` makes of it."""

import json
from pathlib import Path

import pytest
from judge_stub import Says, endpoint

from kit.cli import app
from kit.config.errors import ConfigError, DataError
from kit.evaluate.endpoint import Endpoint, EndpointError, parse_request
from kit.evaluate.given import read_given
from kit.evaluate.prompts import Prompt
from kit.evaluate.served import answer_by_endpoint

PROMPTS = [
    Prompt(
        f"{n:02}",
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Question {n}?"}],
        {"topic": "funds"},
        {"topic": "funds"},
        str(n),
        answer=f"Answer {n}.",
    )
    for n in range(6)
]


def served(base_url: str, **changes) -> Endpoint:
    settings = {
        "model": "m",
        "base_url": base_url,
        "api_key_env": None,
        "request": {"temperature": 0},
        "timeout": 5,
        "retries": 0,
        "num_concurrent": 2,
        "who": "model 'm'",
        "named": lambda key: f"--{key.replace('_', '-')}",
        "again": "casekit answer",
    }
    return Endpoint(**{**settings, **changes})


def test_every_prompt_is_asked_and_the_file_can_be_compared(tmp_path: Path) -> None:
    path = tmp_path / "served.jsonl"
    with endpoint(lambda content, _: Says("It can fall.")) as stub:
        assert answer_by_endpoint(served(stub.base_url), PROMPTS, path) == 0
        assert answer_by_endpoint(served(stub.base_url), PROMPTS, path) == 0
    assert len(stub.asked) == 6, "what was answered is not asked again"
    assert sorted(body["messages"][1]["content"] for body in stub.asked) == [
        f"Question {n}?" for n in range(6)
    ]
    assert {body["messages"][0]["content"] for body in stub.asked} == {"Be brief."}
    found = read_given(path)
    assert sorted(found.rows) == [prompt.id for prompt in PROMPTS]
    row = found.rows["03"]
    assert (row.prompt, row.answer, row.group, row.expected) == (
        "Question 3?",
        "Answer 3.",
        "3",
        {"topic": "funds"},
    )
    assert row.outputs["greedy"] == {"output": "It can fall.", "finished": True}


def test_an_answer_that_the_server_cut_is_cut_and_one_without_text_is_empty(tmp_path: Path) -> None:
    def says(text: str | None, reason: str) -> Says:
        choice = {"message": {"content": text}, "finish_reason": reason}
        return Says(raw=json.dumps({"choices": [choice]}).encode())

    path = tmp_path / "served.jsonl"
    with endpoint(lambda _, n: says(None, "stop") if n == 1 else says("It can", "length")) as stub:
        assert answer_by_endpoint(served(stub.base_url, num_concurrent=1), PROMPTS[:2], path) == 1
    rows = read_given(path).rows
    assert [rows[id_].outputs["greedy"] for id_ in ("00", "01")] == [
        {"output": "", "finished": True},
        {"output": "It can", "finished": False},
    ]


def test_what_came_before_a_failure_is_kept_and_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "served.jsonl"
    told = r"(?s)status 503.*`casekit answer` goes on from there"
    with (
        endpoint(lambda _, n: Says("Good.") if n < 4 else Says("overloaded", 503)) as stub,
        pytest.raises(EndpointError, match=told),
    ):
        answer_by_endpoint(served(stub.base_url, num_concurrent=1), PROMPTS, path)
    assert path.read_text().count("\n") == 3
    with path.open("a") as file:
        file.write('{"id": "05", "prom')  # killed while it wrote
    with endpoint(lambda *_: Says("Good.")) as stub:
        answer_by_endpoint(served(stub.base_url), PROMPTS, path)
    assert len(stub.asked) == 3
    assert sorted(read_given(path).rows) == [prompt.id for prompt in PROMPTS]


def test_a_file_with_answers_to_other_prompts_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "served.jsonl"
    path.write_text('{"id": "zz", "prompt": "Other?", "output": "o"}\n')
    with pytest.raises(DataError, match="does not say who answered"):
        answer_by_endpoint(served("http://127.0.0.1:9/v1"), PROMPTS, path)
    asked = {"model": "m", "request": {"temperature": 0}}
    path.with_name("served.jsonl.asked.json").write_text(json.dumps(asked))
    with pytest.raises(DataError, match="answers other prompts, such as 'zz'"):
        answer_by_endpoint(served("http://127.0.0.1:9/v1"), PROMPTS, path)
    assert path.read_text().count("\n") == 1


def test_two_models_never_answer_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "served.jsonl"
    with endpoint(lambda *_: Says("Good.")) as stub:
        answer_by_endpoint(served(stub.base_url), PROMPTS[:2], path)
        with pytest.raises(DataError, match=r"was begun with another model \(served.jsonl.asked.json\)"):
            answer_by_endpoint(served(stub.base_url, model="tuned"), PROMPTS, path)
        with pytest.raises(DataError, match="another request"):
            answer_by_endpoint(served(stub.base_url, request={"temperature": 1}), PROMPTS, path)
    assert len(stub.asked) == 2


def test_prompts_with_tools_and_addresses_with_secrets_are_refused(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    with_tools = [Prompt("a", PROMPTS[0].messages, {}, {}, "a", tools=tools)]
    with pytest.raises(DataError, match="1 of 1 prompts have tools"):
        answer_by_endpoint(served("http://127.0.0.1:9/v1"), with_tools, tmp_path / "a.jsonl")
    with pytest.raises(ConfigError, match="--base-url") as caught:
        answer_by_endpoint(served("http://u:hunter2@127.0.0.1/v1"), PROMPTS, tmp_path / "a.jsonl")
    assert "hunter2" not in str(caught.value)


def test_a_request_is_read_as_json_or_text() -> None:
    found = parse_request(["temperature=0.5", 'stop=["###"]', "seed=null", "mode=fast"])
    assert found == {"temperature": 0.5, "stop": ["###"], "seed": None, "mode": "fast"}
    with pytest.raises(ConfigError, match="'temperature' is no KEY=JSON"):
        parse_request(["temperature"])


def test_the_command_answers_the_test_split_of_a_project(project, monkeypatch, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    import kit.data.prepared as prepared_data
    from kit.evaluate.prompts import load_prompts

    _, root, prepared, _ = project
    monkeypatch.setattr(prepared_data, "find_prepared", lambda *args: prepared)
    monkeypatch.setattr("kit.pipeline.tokenizer", lambda config: None)
    (root / "conf").mkdir()
    (root / "conf" / "recipe.yaml").write_text("project: {name: x}\nevaluate: {max_new_tokens: 7}\n")
    (root / "conf" / "project.yaml").write_text("")
    out = tmp_path / "served.jsonl"
    with endpoint(lambda *_: Says("It can fall.")) as stub:
        words = ["answer", "--base-url", stub.base_url, "--model", "tuned", "--out", str(out)]
        result = CliRunner().invoke(app, [*words, "--project", str(root), "--request", "top_p=0.9"])
    assert result.exit_code == 0, result.output
    assert len(read_given(out).rows) == len(load_prompts(prepared / "test")) == 24
    body = stub.asked[0]
    assert (body["model"], body["temperature"], body["max_tokens"], body["top_p"]) == ("tuned", 0, 7, 0.9)
