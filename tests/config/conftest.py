"""A project's two layers on disk, as small as a test needs them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from config_samples import RECIPE


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Path]:
    def make(project: str = "", recipe: str = RECIPE) -> Path:
        conf = tmp_path / "conf"
        conf.mkdir(exist_ok=True)
        (conf / "recipe.yaml").write_text(recipe)
        (conf / "project.yaml").write_text(project)
        return tmp_path

    return make
