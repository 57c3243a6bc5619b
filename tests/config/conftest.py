"""A project's two layers on disk, as small as a test needs them."""

from collections.abc import Callable
from pathlib import Path

import pytest

RECIPE = """\
recipe: {name: finance, languages: [en, fr]}
model: tiny
method: lora
data:
  slices: [topic]
train:
  learning_rate: 3e-5
evaluate:
  metrics: [violation_rate]
tiers:
  tiny:
    title: This laptop
    licence: none
    settings:
      train: {learning_rate: 2e-3, global_batch_size: 16}
      model: {max_length: 256}
  startup:
    title: One GPU
    licence: Apache-2.0
    settings:
      model: Qwen/Qwen3-8B
"""


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Path]:
    def make(project: str = "", recipe: str = RECIPE) -> Path:
        conf = tmp_path / "conf"
        conf.mkdir(exist_ok=True)
        (conf / "recipe.yaml").write_text(recipe)
        (conf / "project.yaml").write_text(project)
        return tmp_path

    return make
