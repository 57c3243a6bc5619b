"""A whole project around the small base: settings, data, policy, as `casekit train` finds them."""

import json
from pathlib import Path

from train_world import dialogue

from kit import pipeline
from kit.config import LoadedConfig, load_config

POLICY = """
rules:
  - id: P1
    title: Promises a time
    severity: critical
    never: ['\\btomorrow\\b']
    source: test
    examples: {violates: [It comes tomorrow.], complies: [It comes soon.]}
"""

PROJECT = """
# yaml comment
model: {{name: {base}, max_length: 256}}
method: lora
data:
  sources: [{{path: rows.jsonl}}]
  split: {{column: split}}
train:
  learning_rate: 3e-3
  global_batch_size: 8
  num_train_epochs: 1
  eval_steps: 2
  save_steps: 2
  golden_metric: violation_rate
  golden_prompts: 4
evaluate:
  metrics: [{{name: violation_rate, params: {{policy: conf/policy.yaml}}}}]
  max_new_tokens: 4
hardware: {{num_threads: 1}}
tracking: {{report_to: []}}
"""


def write_project(root: Path, base: Path) -> Path:
    """A prepared project of 48 training rows: six steps, an evaluation and a checkpoint at 2, 4 and 6."""
    (root / "conf").mkdir(parents=True)
    (root / "conf" / "project.yaml").write_text(PROJECT.format(base=base))
    (root / "conf" / "policy.yaml").write_text(POLICY)
    splits = ["train"] * 48 + ["valid"] * 8 + ["test"] * 8
    rows = [{"messages": dialogue(n), "split": split} for n, split in enumerate(splits)]
    for n, row in enumerate(rows):
        row["messages"][0]["content"] += f" It is number {n}."
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pipeline.prepare(load_config(root))
    return root


def loaded(root: Path, *words: str) -> LoadedConfig:
    """The project's settings, with words from the command line."""
    return load_config(root, words)
