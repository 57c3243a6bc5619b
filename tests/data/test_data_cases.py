"""What a new project brings for its own data: the commented settings and the reader work as they stand."""

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit.config import load_config
from kit.hooks import Hooks

ROOT = Path(__file__).parents[2]
CASES = ROOT / "template" / "_cases"
GROUPS = {"finance": "customer", "medical": "patient", "ecommerce": "customer"}


def hooks_of(case: str) -> Hooks:
    spec = importlib.util.spec_from_file_location(f"{case}_hooks", CASES / case / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Hooks(readers=module.readers, cleaners=module.cleaners)


def settings_of(case: str) -> dict[str, Any]:
    """The commented lines of `conf/project.yaml`, as a user has them who takes out the `# `."""
    lines = (CASES / case / "sources.yaml").read_text(encoding="utf-8").splitlines()
    return yaml.safe_load("\n".join(line.removeprefix("# ") for line in lines))["data"]


def records_of(case: str, count: int) -> list[dict[str, Any]]:
    """The record of the case's page many times, each with words and a person of its own."""
    text = (CASES / case / "record.json").read_text(encoding="utf-8")
    records = []
    for number in range(count):
        record = json.loads(text.replace("?", f" {number}?").replace('."', f' {number}."'))
        if case in GROUPS:
            record[GROUPS[case]] = f"K-{number}"
        records.append(record)
    return records


@pytest.mark.parametrize("case", ["blank", *GROUPS])
def test_the_commented_example_can_be_prepared_as_it_stands(project, case: str) -> None:
    settings = settings_of(case)
    (source,) = settings.pop("sources")
    project.hooks = hooks_of(case)
    count = 20 if case == "blank" else 60  # the guide of blank begins with twenty questions
    project.write(source["path"], records_of(case, count))
    found = project.look(source, **settings)
    assert (list(found.rejected), found.refused) == ([], [])
    assert found.summary["rows"]["kept"] == count


@pytest.mark.parametrize("case", GROUPS)
@pytest.mark.parametrize("nobody", [None, "", " "])
def test_people_without_a_name_are_not_one_person(project, case: str, nobody: str | None) -> None:
    settings = settings_of(case)
    (source,) = settings.pop("sources")
    project.hooks = hooks_of(case)
    records = records_of(case, 60)
    for record in records[::2]:
        record[GROUPS[case]] = nobody
    for record in records[1::4]:
        del record[GROUPS[case]]
    project.write(source["path"], records)
    found = project.look(source, **settings)
    assert found.refused == []
    counts = {check["name"]: check["count"] for check in found.summary["checks"]}
    assert counts["no_group"] == 45


@pytest.mark.parametrize("case", ["blank", *GROUPS])
def test_the_settings_of_the_how_to_are_valid_on_every_recipe(tmp_path: Path, case: str) -> None:
    page = (ROOT / "docs/how-to/bring-your-own-data.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 7
    (tmp_path / "conf").mkdir()
    shutil.copy(ROOT / "recipes" / case / "recipe.yaml", tmp_path / "conf")
    for block in blocks:
        (tmp_path / "conf/project.yaml").write_text(block)
        assert load_config(tmp_path).config.data.sources
