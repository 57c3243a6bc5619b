"""General sets: read, answered by both systems, and what was kept or lost on them."""

import json
import os
from pathlib import Path

import jsonschema
import pytest
from gate_samples import interval

from kit.config.errors import ConfigError, DataError
from kit.config.gates import Gate
from kit.config.schema import Config, GeneralSet
from kit.evaluate.evaluate import evaluate
from kit.evaluate.gates import judge_gates
from kit.evaluate.general import kept, load_general
from kit.evaluate.metrics.final_number.final_number import FinalNumber
from kit.hooks import Hooks
from kit.report.contract import json_schema

SHARED = Path(os.environ.get("CASEKIT_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def with_sets(config: Config, *sets: dict) -> Config:
    loaded = [GeneralSet.model_validate(each) for each in sets]
    return config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"general": loaded})})


def sums(root: Path, name: str = "sums.jsonl", count: int = 6) -> dict:
    rows = [{"question": f"What is {i} plus 2?", "answer": f"It is #### {i + 2}"} for i in range(count)]
    (root / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"prompt": "question", "completion": "answer"}
    return {"name": "sums", "path": name, "columns": columns, "metrics": ["final_number"]}


@pytest.mark.parametrize(
    ("low", "high", "higher_is_better", "expected"),
    [
        (-0.01, 0.03, True, "kept"),
        (-0.019, -0.001, True, "kept"),  # a loss, and a smaller one than the margin
        (-0.02, 0.03, True, "not shown"),
        (-0.08, -0.03, True, "lost"),
        (-0.08, -0.01, True, "lost"),
        (-0.03, 0.01, False, "kept"),
        (0.01, 0.03, False, "lost"),
        (-0.01, 0.03, False, "not shown"),
    ],
)
def test_kept_is_what_the_interval_says(low, high, higher_is_better, expected) -> None:
    assert kept({"low": low, "high": high}, higher_is_better, 0.02, 400, 0.95) == expected
    assert kept({"low": 0.0, "high": 0.0}, higher_is_better, 0.02, 3, 0.95) == "not shown"


def test_questions_that_ask_the_same_are_one_witness(tmp_path: Path) -> None:
    rows = [{"prompt": "What is 2+2?", "completion": answer} for answer in ("4", "four", "4")]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (found,) = load_general(
        with_sets(Config(), {"name": "a", "path": "a.jsonl", "metrics": ["exact_match"]}), tmp_path, Hooks()
    )
    assert len(found.prompts) == 2
    assert len({prompt.group for prompt in found.prompts}) == 1


def test_questions_are_read_with_or_without_answers(tmp_path: Path) -> None:
    (tmp_path / "safe.csv").write_text(
        "prompt,type\nHow do I kill a process?,homonym\nMay I steal a look?,x\n"
    )
    safe = {"name": "safe", "path": "safe.csv", "metrics": ["answer_length"], "system_prompt": "Be kind."}
    first, second = load_general(with_sets(Config(), sums(tmp_path), safe), tmp_path, Hooks())
    assert [prompt.answer for prompt in first.prompts if "4 plus" in prompt.messages[0]["content"]] == [
        "It is #### 6"
    ]
    assert all(len(prompt.messages) == 1 for prompt in first.prompts)
    assert {prompt.reference["type"] for prompt in second.prompts} == {"homonym", "x"}
    assert all(prompt.messages[0] == {"role": "system", "content": "Be kind."} for prompt in second.prompts)


def test_all_that_is_wrong_with_the_files_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{"prompt": 3}\n{oops\n')
    odd = {"name": "odd", "path": "odd.jsonl", "metrics": ["exact_match"]}
    gone = {"name": "gone", "path": "gone.jsonl", "metrics": ["exact_match"]}
    (tmp_path / "other.jsonl").write_text('{"q": "a"}\n')
    other = {"name": "other", "path": "other.jsonl", "metrics": ["exact_match"]}
    with pytest.raises(DataError) as caught:
        load_general(with_sets(Config(), odd, gone, other), tmp_path, Hooks())
    told = str(caught.value)
    assert "odd.jsonl:3: not JSON" in told
    assert "gone.jsonl: no such file" in told
    assert "other.jsonl: no known format has the columns q" in told
    unknown = {**sums(tmp_path), "metrics": ["final_numbr", "response_time"]}
    with pytest.raises(
        ConfigError, match=r"(?s)evaluate.general: sums: .*final_numbr.*did you mean.*response_time"
    ):
        load_general(with_sets(Config(), unknown), tmp_path, Hooks())


def test_a_set_is_answered_by_both_and_added_without_asking_the_others_again(project) -> None:
    config, root, prepared, run = project
    first = evaluate(config, root, prepared, run, Hooks())
    before = (first / "predictions.jsonl").read_text()
    assert json.loads((first / "scores.json").read_text())["general"] == []
    asked = with_sets(config, {**sums(root), "max_prompts": 5})
    second = evaluate(asked, root, prepared, run, Hooks())
    assert second == first
    after = (second / "predictions.jsonl").read_text()
    assert after.startswith(before)
    assert after.count("\n") == before.count("\n") + 2 * 5
    scores = json.loads((second / "scores.json").read_text())
    jsonschema.validate(scores, json_schema("scores"))
    (found,) = scores["general"]
    (entry,) = found["metrics"]
    assert (found["name"], found["prompts"], found["margin"]) == ("sums", 5, 0.02)
    assert (entry["name"], entry["n"], entry["tuned"]["estimate"]) == ("final_number", 5, 0.0)
    assert entry["kept"] == "not shown", "five wrong answers of each rule out no loss"
    assert max(found["invalid"].values()) > 0
    assert evaluate(asked, root, prepared, run, Hooks()) == first  # and is finished


def entry(low: float, high: float, n: int = 400) -> dict:
    middle = (low + high) / 2
    return {
        "name": "final_number",
        "label": "Result right",
        "kind": "rate",
        "higher_is_better": True,
        "of_sums": False,
        "decoding": "greedy",
        "n": n,
        "groups": n,
        "base": interval(0.5, 0.45, 0.55),
        "tuned": interval(0.5 + middle, 0.4, 0.6),
        "difference": {**interval(middle, low, high), "p_value": 0.2},
        "reduction": None,
        "ratio": None,
        "verdict": "not shown",
        "severities": None,
        "slices": [],
        "details": {"base": {}, "tuned": {}},
    }


@pytest.mark.parametrize(
    ("low", "high", "status"), [(-0.015, 0.02, "passed"), (-0.05, 0.02, "failed"), (-0.09, -0.04, "failed")]
)
def test_a_gate_looks_at_the_set_it_names(low, high, status) -> None:
    scores = {
        "confidence": 0.95,
        "conditions": {"mismatches": []},
        "validity": {},
        "metrics": [],
        "unscored": [],
        "general": [{"name": "sums", "metrics": [entry(low, high)], "unscored": []}],
    }
    settings = {"name": "g", "metric": "final_number", "on": "sums", "non_inferior": {"margin": 0.02}}
    (result,) = judge_gates(scores, [Gate.model_validate(settings)])
    assert result.status == status
    with pytest.raises(ConfigError, match="unknown metric 'final_number' for greedy answers"):
        judge_gates(scores, [Gate.model_validate({**settings, "on": None})])


def test_a_gate_on_a_general_set_has_no_slices_and_no_sampled_answers() -> None:
    settings = {"name": "g", "metric": "m", "on": "sums", "at_least": 0.5}
    for more in ({"decoding": "sampled"}, {"worst": "language"}):
        with pytest.raises(ValueError, match="answered greedily and has no slices"):
            Gate.model_validate({**settings, **more})


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("So she makes 18 dollars.", "9 * 2 = 18\n#### 18", 1.0),
        ("9 * 2 = 18, and 3 are left: 3", "#### 18", 0.0),
        ("It is 1,080.", "#### 1080", 1.0),
        ("I do not know.", "#### 18", 0.0),
        ("That takes 480/30 = 16 hours", "#### 16", 1.0),  # a unit is not the reference's
        ("So he is 9 years old.", "#### 9", 1.0),
        ("That takes 16 hours", "#### 960", 0.0),
        ("It takes an hour, or 60 minutes", "It takes 1 hour", 1.0),
    ],
)
def test_the_last_figure_is_the_result(answer: str, reference: str, expected: float) -> None:
    assert FinalNumber().judge(answer, {"answer": reference})[0] == expected


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real data at {SHARED}")
def test_every_result_of_gsm8k_and_mgsm_is_read(tmp_path: Path) -> None:
    metric = FinalNumber()
    columns = {"prompt": "question", "completion": "answer"}
    for name, count in (("eval_gsm8k_en", 500), ("eval_mgsm_multi", 600)):
        path = str(SHARED / f"{name}.jsonl")
        settings = {"name": name, "path": path, "columns": columns, "metrics": [metric.name]}
        (found,) = load_general(with_sets(Config(), {**settings, "max_prompts": 1000}), tmp_path, Hooks())
        assert len(found.prompts) == count
        for prompt in found.prompts:
            assert metric.applies(prompt.reference), prompt
            assert metric.judge(f"The result is {prompt.answer.split()[-1]}.", prompt.reference)[0] == 1.0
