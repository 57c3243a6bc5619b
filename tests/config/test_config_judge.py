"""The judge's settings: no secret in them, and a name that nothing else has."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kit.config import ConfigError, load_config

Make = Callable[..., Path]
JUDGE = "evaluate:\n  judge:\n    model: m\n    rubric: conf/rubric.yaml\n"
SECRET = "sk-0123456789abcdef"


def refused(root: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(root, [])
    return str(caught.value)


def test_a_judge_is_off_unless_it_is_set(make_project: Make) -> None:
    assert load_config(make_project(""), []).config.evaluate.judge is None
    judge = load_config(make_project(JUDGE), []).config.evaluate.judge
    assert judge is not None and judge.rubric.file == "conf/rubric.yaml" and judge.base_url is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"api_key_env: {SECRET}", "never the key itself"),
        (f"api_key_env: hf_{SECRET[3:]}", "never the key itself"),
        (f"api_key: {SECRET}", "unknown key `evaluate.judge.api_key`"),
        (f"base_url: https://user:{SECRET}@judge.example/v1", "without user, password or query"),
        (f"base_url: https://judge.example/v1?key={SECRET}", "without user, password or query"),
        ("api_key_env: JUDGE_KEY", "`api_key_env` goes with `base_url`"),
        ("base_url: judge.example/v1", "an http(s) address"),
        ("base_url: http://judge.example:99999/v1", "an http(s) address"),
        ("num_concurrent: 0", "conf/project.yaml:5"),
    ],
)
def test_a_setting_that_cannot_be_is_told_without_a_secret(make_project: Make, line: str, said: str) -> None:
    text = refused(make_project(f"{JUDGE}    {line}\n"))
    assert said in text and "conf/project.yaml:" in text
    assert SECRET not in text and SECRET[3:] not in text


@pytest.mark.parametrize("name", ["api_key_env", "api_key"])
def test_a_key_on_the_command_line_is_not_repeated(make_project: Make, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(make_project(JUDGE), [f"evaluate.judge.{name}={SECRET}"])
    assert f"command line: evaluate.judge.{name}=…" in str(caught.value) and SECRET not in str(caught.value)


def test_a_rubric_that_cannot_be_is_told(make_project: Make) -> None:
    text = refused(make_project("evaluate:\n  judge: {model: m, rubric: {question: q, labels: [a, b]}}\n"))
    assert "`good` names those of `labels` that are no fault" in text and "conf/project.yaml:2" in text


def test_a_gate_may_name_the_judge_where_there_is_one(make_project: Make) -> None:
    gates = "gates: [{name: g, metric: judge, at_most: 0.1}]\n"
    assert load_config(make_project(JUDGE + gates), []).config.gates[0].metric == "judge"
    assert "unknown metric 'judge'" in refused(make_project(gates))


def test_no_metric_has_the_judges_name(make_project: Make) -> None:
    assert "'judge' is given twice" in refused(make_project(f"{JUDGE}  metrics: [violation_rate, judge]\n"))
