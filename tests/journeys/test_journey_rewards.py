"""A bank with rules and no better answers: the rules reward what the model says, to a report, on tiny."""

import json
from pathlib import Path

import jsonschema
import pytest

from kit.report.contract import json_schema

SETTINGS = """
tier: tiny
data:
  sources: [{grammar: conf/dialogues.yaml, dialogues: 150}]
train:
  stage: grpo
  learning_rate: 1e-4
  max_steps: 3
  global_batch_size: 16
  per_device_train_batch_size: 8
  eval_steps: 2
  save_steps: 2
  golden_prompts: 4
  logging_steps: 1
  grpo: {num_generations: 4, max_completion_length: 64}
evaluate:
  max_prompts: 10
  max_new_tokens: 64
  latency_prompts: 0
  sampling: {enabled: false}
  bootstrap_draws: 200
gates: [{name: Few violations, metric: violation_rate, at_most: 0.05, min_n: 10}]
claims: []
"""
REWARDS = {
    "violation_rate",
    "over_refusal_rate",
    "refusal_rate",
    "disclosure_rate",
    "resolution_rate",
    "slot_accuracy",
}


@pytest.mark.slow
def test_a_policy_rewards_answers_from_the_scaffold_to_a_report(tmp_path: Path, casekit) -> None:
    project = tmp_path / "bank"
    casekit("new", str(project), "--recipe", "finance", "--defaults")
    (project / "conf/project.yaml").write_text(SETTINGS)

    done = casekit("run", "--project", str(project), expect=None)
    report = next(project.glob("reports/*/report.json"), None)
    assert report, done.stderr
    assert "rewarded by violation_rate + over_refusal_rate" in " ".join(done.stderr.split())
    jsonschema.validate(json.loads(report.read_text()), json_schema("report"))
    assert json.loads(report.read_text())["verdict"]["exit_code"] == done.returncode
    assert "Minus the mean reward" in (report.parent / "report.html").read_text()

    (run,) = (project / "runs").iterdir()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    drawn = [line for line in lines if line["kind"] == "train"]
    assert [line["step"] for line in drawn] == [1, 2, 3]
    assert all(set(line["rewards"]) == REWARDS and 0 < line["answer_tokens"] <= 64 for line in drawn)
    assert all(-2 <= line["reward"] <= 4 for line in drawn)  # two faults at most, four merits
    assert any(line["reward_std"] > 0 and line["same_reward"] < 1 for line in drawn)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["loss"]["first"] == -drawn[0]["reward"]
    assert set(manifest["golden_choice"]["rewards"]) == REWARDS
    assert manifest["golden_choice"]["rewards"]["violation_rate"]["files"].keys() == {"conf/policy.yaml"}

    policy = project / "conf" / "policy.yaml"
    manifest["status"] = "interrupted"
    (run / "manifest.json").write_text(json.dumps(manifest))
    policy.write_text(policy.read_text() + "\n")
    refused = casekit("train", "--project", str(project), "--resume", expect=2)
    assert "golden choice.rewards.disclosure_rate.files" in refused.stderr
