"""A project of a reward model: from pairs to how far its scores can be trusted, and no further."""

import json

import pytest
from rich.console import Console
from train_chain_project import pairs_of, write_lines
from typer.testing import CliRunner

from kit import pipeline
from kit.cli import app
from kit.config import load_config
from kit.config.errors import ConfigError
from kit.config.schema import Config
from kit.evaluate.reward import judge_pairs
from kit.evaluate.statistics import wilson
from kit.terminal_reward import reward_table

PROJECT = """
model: {{name: {base}, max_length: 256}}
method: lora
data:
  sources: [{{path: pairs.jsonl}}]
  split: {{column: split}}
  slices: [topic]
train:
  stage: reward
  learning_rate: 3e-3
  num_train_epochs: 4
  global_batch_size: 8
  eval_steps: 4
  save_steps: 4
evaluate: {{bootstrap_draws: 200}}
hardware: {{num_threads: 1}}
tracking: {{report_to: []}}
"""


@pytest.mark.slow
def test_a_reward_model_is_measured_on_held_out_pairs_and_gives_no_answers(base, tmp_path):
    project = tmp_path / "project"
    (project / "conf").mkdir(parents=True)
    (project / "conf" / "project.yaml").write_text(PROJECT.format(base=base))
    rows = pairs_of(["train"] * 40 + ["valid"] * 8 + ["test"] * 12)
    write_lines(project / "pairs.jsonl", [row | {"topic": "ab"[n % 2]} for n, row in enumerate(rows)])
    loaded = load_config(project)
    with pytest.raises(ConfigError, match="there is no report to make"):
        pipeline.run(loaded)
    assert not (project / "runs").exists()

    pipeline.prepare(loaded)
    run = pipeline.train(loaded)
    done = CliRunner().invoke(app, ["evaluate", "--project", str(project)])
    assert done.exit_code == 0, done.output
    assert "decided rightly" in done.output and "topic=a" in done.output
    (folder,) = (project / "evaluations").iterdir()
    found = json.loads((folder / "reward.json").read_text())
    lines = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    assert found["pairs"] == len(lines) == 12 and found["run"] == run.name
    right = sum(line["margin"] > 0 for line in lines)
    accuracy = found["pairwise_accuracy"]
    assert accuracy["tuned"]["estimate"] == right / 12 > 0.8
    assert accuracy["tuned"]["low"] == pytest.approx(wilson(right, 12).low)
    longer = sum(line["chosen_tokens"] > line["rejected_tokens"] for line in lines)
    assert accuracy["base"]["estimate"] == longer / 12
    assert [part["value"] for part in accuracy["slices"]] == ["a", "b"]
    before = (folder / "reward.json").stat().st_mtime_ns
    assert pipeline.evaluate(loaded) == folder and (folder / "reward.json").stat().st_mtime_ns == before

    for ask in (lambda: pipeline.report(loaded), lambda: pipeline.report(loaded, folder.name)):
        with pytest.raises(ConfigError, match="is of a reward model, which gives no answers"):
            ask()
    with pytest.raises(ConfigError, match="scores answers and gives none"):
        pipeline.chat(loaded, "Hello?")


def line(number: int, margin: float, chosen: int, rejected: int) -> dict:
    return {
        "id": str(number),
        "group": str(number),
        "slices": {},
        "margin": margin,
        "chosen_tokens": chosen,
        "rejected_tokens": rejected,
    }


def test_a_model_that_only_counts_words_is_seen_through() -> None:
    """It is as good as the rule, never right where the better answer is short, and sure of itself."""
    by_length = [line(n, 4.0 if n % 3 else -4.0, *((9, 5) if n % 3 else (5, 9))) for n in range(90)]
    found = judge_pairs(by_length, Config())
    assert found["pairwise_accuracy"]["difference"]["estimate"] == 0
    assert found["pairwise_accuracy"]["verdict"] == "not shown"
    assert found["chosen_shorter"]["n"] == 30 and found["chosen_shorter"]["estimate"] == 0
    stated = 1 / (1 + 2.718281828459045**-4)
    assert found["calibration"]["error"] == pytest.approx(stated - 60 / 90)
    assert [one["n"] for one in found["calibration"]["bins"]] == [0, 0, 0, 0, 90]

    better = judge_pairs([line(n, 0.5, *((9, 5) if n % 3 else (5, 9))) for n in range(90)], Config())
    assert better["pairwise_accuracy"]["verdict"] == "improved"
    assert better["chosen_shorter"]["estimate"] == 1

    ties = judge_pairs([line(n, 0.0, 5, 5) for n in range(40)], Config())
    assert ties["ties"] == {"base": 40, "tuned": 40}
    assert ties["pairwise_accuracy"]["tuned"]["estimate"] == 0
    assert ties["chosen_shorter"]["estimate"] is None


def test_the_table_writes_numbers_as_reports_do_and_lets_no_data_steer_the_terminal(tmp_path) -> None:
    lines = [
        line(n, 0.5, *((9, 5) if n % 4 else (5, 9))) | {"slices": {"topic": "a\x1b[31m"}} for n in range(40)
    ]
    (tmp_path / "reward.json").write_text(json.dumps(judge_pairs(lines, Config())))
    console = Console(width=140)
    with console.capture() as shown:
        console.print(reward_table(tmp_path))
    text = shown.get()
    assert "75.0% [" in text and "+25.0\u00a0points" in text
    assert "\x1b" not in text and "topic=a⟦U+001B⟧[31m" in text
    assert "where the better answer is the shorter one: 100.0% [" in text
    (tmp_path / "reward.json").write_text(
        json.dumps(judge_pairs([line(n, 0.5, 9, 5) for n in range(40)], Config()))
    )
    with console.capture() as shown:
        console.print(reward_table(tmp_path))
    assert "in none of the pairs is the better answer the shorter one" in shown.get()
