"""Tasks of lm-evaluation-harness, given to both systems of an evaluation from files of one's own."""

import importlib.util
import json
from pathlib import Path

import pytest

from kit.config.errors import ConfigError, DataError
from kit.config.gates import Gate
from kit.config.schema import Config
from kit.evaluate import harness
from kit.evaluate.evaluate import evaluate
from kit.evaluate.gates import judge_gates
from kit.hooks import Hooks

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{question}}}}"
{more}
"""
NEEDS = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None, reason="lm-evaluation-harness is an extra: casekit[harness]"
)


def with_tasks(config: Config, *tasks: object) -> Config:
    own = {**config.model_dump()["evaluate"], "harness": list(tasks), "metrics": ["answer_length"]}
    return Config.model_validate({**config.model_dump(), "evaluate": own})


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    folder, rows = tmp_path / "tasks", tmp_path / "rows.jsonl"
    folder.mkdir()
    asked = [{"question": f"What is {i} plus 2?", "answer": str(i % 3)} for i in range(40)]
    rows.write_text("".join(json.dumps(row) + "\n" for row in asked))
    choice = 'doc_to_choice: ["0", "1", "2"]\ndoc_to_target: "{{answer|int}}"\nmetric_list: [{metric: acc}]'
    (folder / "choice.yaml").write_text(
        TASK.format(name="own_choice", file=rows, kind="multiple_choice", more=choice)
    )
    free = (
        'doc_to_target: "{{answer}}"\ngeneration_kwargs: {until: ["."], max_gen_toks: 4}\n'
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]"
    )
    (folder / "free.yaml").write_text(
        TASK.format(name="own_free", file=rows, kind="generate_until", more=free)
    )
    return folder


@NEEDS
def test_both_systems_are_compared_on_the_same_questions(project, tasks, monkeypatch) -> None:
    config, root, prepared, run = project
    own = [{"name": name, "include_path": "tasks"} for name in ("own_choice", "own_free")]
    folder = evaluate(with_tasks(config, *own), root, prepared, run, Hooks())
    scores = json.loads((folder / "scores.json").read_text())
    choice, free = scores["general"]
    (accuracy,), (match,) = choice["metrics"], free["metrics"]
    assert (choice["name"], choice["prompts"], free["name"]) == ("own_choice", 40, "own_free")
    assert choice["path"].startswith("lm-evaluation-harness 0.")
    assert (accuracy["name"], accuracy["kind"], accuracy["n"]) == ("acc", "rate", 40)
    assert accuracy["difference"]["method"] == "Newcombe 10, mid-p McNemar"
    assert 0 < accuracy["base"]["estimate"] < 1
    assert (match["tuned"]["estimate"], match["kept"]) == (0.0, "not shown")
    told = {"name": "g", "metric": "acc", "on": "own_choice", "at_least": 0.99}
    assert judge_gates(scores, [Gate.model_validate(told)])[0].status == "failed"

    asked: list[str] = []
    given = harness.give_task
    monkeypatch.setattr(
        "kit.evaluate.answers.give_task", lambda *args: asked.append(args[2].name) or given(*args)
    )
    own[1]["limit"] = 10
    again = evaluate(with_tasks(config, *own), root, prepared, run, Hooks())
    assert again == folder
    assert asked == ["own_free", "own_free"], "each system, and the task that is set otherwise only"
    assert json.loads((folder / "scores.json").read_text())["general"][1]["prompts"] == 10

    asked.clear()
    (root / "tasks" / "choice.yaml").write_text((root / "tasks" / "choice.yaml").read_text() + "# changed\n")
    evaluate(with_tasks(config, *own), root, prepared, run, Hooks())
    assert asked.count("own_choice") == 2, "a task whose files changed is given again"


@NEEDS
def test_a_task_that_nobody_knows_is_told_with_what_to_do(project) -> None:
    config, root, prepared, run = project
    with pytest.raises(DataError, match=r"(?s)evaluate.harness: no_such_task: .*lm-eval ls tasks"):
        evaluate(with_tasks(config, "no_such_task"), root, prepared, run, Hooks())


def test_without_the_harness_it_is_told_before_anything_is_loaded(project, monkeypatch) -> None:
    config, root, prepared, run = project
    monkeypatch.setattr(harness, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "casekit\[harness\]"'):
        evaluate(with_tasks(config, "gsm8k"), root, prepared, run, Hooks())
    assert not (root / "evaluations").exists()


def test_a_folder_of_tasks_that_is_not_there_is_told(project, monkeypatch) -> None:
    config, root, prepared, run = project
    monkeypatch.setattr(harness, "find_spec", lambda name: True)
    with pytest.raises(ConfigError, match="no such folder: tasks"):
        evaluate(with_tasks(config, {"name": "a", "include_path": "tasks"}), root, prepared, run, Hooks())


def test_a_group_of_tasks_and_figures_of_all_answers_are_told_apart() -> None:
    found = {
        "higher_is_better": {"a": {"acc": True, "ppl": False}, "b": {"acc": True}},
        "samples": {
            "a": [{"doc_id": 0, "filter": "none", "metrics": ["acc", "ppl"], "acc": 1.0, "ppl": (3.0, 4)}],
            "b": [{"doc_id": 0, "filter": "strict", "metrics": ["acc"], "acc": 0.0}],
        },
    }
    if importlib.util.find_spec("lm_eval") is None:
        pytest.skip("lm-evaluation-harness is an extra: casekit[harness]")
    lines = list(harness._lines(found, "both", "base"))
    assert [(line["id"], line["metric"], line["value"]) for line in lines] == [
        ("a:0", "acc", 1.0),
        ("b:0", "acc (strict)", 0.0),
    ]
