"""A team with pairs, or with thumbs up and down: from the file to a report, on tiny, by the command line."""

import json
from itertools import islice
from pathlib import Path

import jsonschema
import pytest
import torch

from kit.report.contract import json_schema

ROWS = 400
SETTINGS = """
tier: tiny
data:
  sources: [{path: raw.jsonl}]
  split: {column: null, group_by: null}
method: {name: lora}
train:
  learning_rate: 5e-4
  max_steps: 24
  global_batch_size: 8
  eval_steps: 12
  save_steps: 12
  golden_prompts: 8
  per_device_train_batch_size: 8
evaluate:
  max_prompts: 24
  latency_prompts: 2
  sampling: {enabled: false}
  bootstrap_draws: 200
gates: [{name: Few violations, metric: violation_rate, at_most: 0.05, min_n: 10}]
claims: []
"""


def answers(project: Path) -> list[dict]:
    """Questions of the recipe's grammar with the answer of the policy and that of a general model."""
    from kit.data.grammar_load import load_grammar
    from kit.data.synth import synthesize

    grammar = load_grammar(project / "conf/dialogues.yaml")
    good, general = (synthesize(grammar, 4 * ROWS, 7, answers=mode) for mode in ("good", "general"))
    rows = [
        {**one, "chosen": one["messages"][-1], "rejected": other["messages"][-1]}
        for one, other in zip(good, general, strict=True)
        if one["messages"][-1] != other["messages"][-1]
    ]
    return list(islice(rows, ROWS))


def margin(model, tokenizer, pairs) -> float:
    """How much likelier chosen answers are than rejected ones: the mean over pairs, in nats."""
    from kit.data.answers import render_pair

    total = 0.0
    for row in pairs:
        sides = []
        for sample in render_pair(row.messages, row.rejected, tokenizer, 10_000):
            ids = torch.tensor([sample.input_ids])
            with torch.no_grad():
                logs = model(input_ids=ids).logits[0].float().log_softmax(dim=-1)
            begin = len(sample.prompt_ids)
            sides.append(logs[range(begin - 1, ids.size(1) - 1), ids[0, begin:]].sum().item())
        total += sides[0] - sides[1]
    return total / len(pairs)


def as_pairs(rows: list[dict]) -> list[dict]:
    """The question in `messages`, the answers as turns beside it."""
    return [row | {"messages": row["messages"][:-1]} for row in rows]


def as_labels(rows: list[dict]) -> list[dict]:
    """Every question once, every other time with the worse answer."""
    labelled = []
    for number, row in enumerate(rows):
        answer = row["chosen"] if number % 2 else row["rejected"]
        plain = {name: value for name, value in row.items() if name not in ("chosen", "rejected")}
        labelled.append(plain | {"messages": [*row["messages"][:-1], answer], "label": number % 2})
    return labelled


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["kto"])  # dpo: below, after sft
def test_preferences_run_to_a_report_and_raise_what_was_preferred(
    stage: str, tmp_path: Path, casekit
) -> None:
    from kit.config import load_config
    from kit.data.prepared import load_split
    from kit.models.loading import load_base, load_tokenizer, load_tuned
    from kit.pipeline import prepare

    project = tmp_path / "bank"
    casekit("new", str(project), "--recipe", "finance", "--defaults")
    (project / "conf/project.yaml").write_text(f"{SETTINGS}\n")
    rows = answers(project)
    write(project / "raw.jsonl", as_pairs(rows) if stage == "dpo" else as_labels(rows))

    done = casekit("run", "--project", str(project), f"train.stage={stage}", expect=None)
    report = next(project.glob("reports/*/report.json"), None)
    assert report, done.stderr
    jsonschema.validate(json.loads(report.read_text()), json_schema("report"))
    assert json.loads(report.read_text())["verdict"]["exit_code"] == done.returncode
    (run,) = (project / "runs").iterdir()
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics if line["kind"] == "eval"] == [12, 24]
    assert all(line["reward_margin"] > 0 for line in metrics if line["kind"] == "eval")

    write(project / "raw.jsonl", as_pairs(rows))
    pairs = load_split(prepare(load_config(project, ["train.stage=dpo"])), "train")[:40]
    config = load_config(project, [f"train.stage={stage}"]).config
    tokenizer = load_tokenizer(config.model)
    before = margin(load_base(config), tokenizer, pairs)
    after = margin(load_tuned(run / "golden", config), tokenizer, pairs)
    assert after > before + 2, (before, after)


@pytest.mark.slow
def test_dialogues_and_then_pairs_run_in_one_command_to_one_report(tmp_path: Path, casekit) -> None:
    from kit.config import load_config
    from kit.data.prepared import load_split
    from kit.models.loading import load_base, load_tokenizer, load_tuned
    from kit.pipeline import as_trained, prepare

    project = tmp_path / "bank"
    casekit("new", str(project), "--recipe", "finance", "--defaults")
    sources = "[{grammar: conf/dialogues.yaml, dialogues: 300}, {path: raw.jsonl}]"
    settings = SETTINGS.replace("[{path: raw.jsonl}]", sources)
    stages = (
        "  stages: [{name: sft, max_steps: 12}, {name: dpo, learning_rate: 2e-4, preference: {beta: 0.2}}]\n"
    )
    (project / "conf/project.yaml").write_text(settings.replace("train:\n", f"train:\n{stages}"))
    write(project / "raw.jsonl", as_pairs(answers(project)))

    done = casekit("run", "--project", str(project), expect=None)
    report = next(project.glob("reports/*/report.json"), None)
    assert report, done.stderr
    assert json.loads(report.read_text())["verdict"]["exit_code"] == done.returncode
    first, second = sorted((project / "runs").iterdir())
    manifests = [json.loads((run / "manifest.json").read_text()) for run in (first, second)]
    assert [one["stage"] for one in manifests] == ["sft", "dpo"]
    assert [one["steps"] for one in manifests] == [12, 24]
    assert manifests[1]["continues"]["run"] == first.name
    assert json.loads(report.read_text())["run"] == second.name
    page = (report.parent / "report.html").read_text()
    assert "Stage 1 of 2: sft" in page and "Stage 2 of 2: dpo" in page
    casekit("verify", str(report.parent), "--project", str(project))

    loaded = load_config(project)
    pairs = [row for row in load_split(prepare(loaded), "train") if "dpo" in row.stages][:40]
    config = as_trained(loaded, second)
    tokenizer = load_tokenizer(config.model)
    models = [load_base(config), load_tuned(first / "golden", config), load_tuned(second / "golden", config)]
    base, after_sft, after_dpo = (margin(model, tokenizer, pairs) for model in models)
    assert after_dpo > after_sft + 1 and after_dpo > base + 2, (base, after_sft, after_dpo)


@pytest.mark.slow
def test_pairs_in_a_project_that_learns_answers_are_refused_with_what_to_do(tmp_path: Path, casekit) -> None:
    project = tmp_path / "bank"
    casekit("new", str(project), "--recipe", "finance", "--defaults")
    (project / "conf/project.yaml").write_text(f"{SETTINGS}\n")
    write(project / "raw.jsonl", [{"prompt": "Q?", "chosen": "A.", "rejected": "B."}])
    refused = casekit("data", "check", "--project", str(project), expect=2)
    assert "raw.jsonl holds pairs" in refused.stderr and "set train.stage: dpo or orpo" in refused.stderr
