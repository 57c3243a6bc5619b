"""The schema speaks to editors: JSON Schema with every setting described, importable without torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kit.config.reference import markdown_reference
from kit.config.schema import Config
from kit.config.schema_train import StageUse
from kit.config.section import Section
from kit.config.show import json_schema


def sections() -> list[type[Section]]:
    return [Config, *(kind for kind in Section.__subclasses__() if kind is not Config)]


def test_the_kit_defaults_are_a_valid_configuration() -> None:
    config = Config()
    assert (config.train.learning_rate, config.train.global_batch_size) == (3e-5, 32)
    assert (config.train.num_train_epochs, config.method.rank) == (5, 8)


def test_a_bare_name_is_allowed_by_the_json_schema_too() -> None:
    assert {"type": "string"} in json_schema()["properties"]["model"]["anyOf"]


@pytest.mark.parametrize(
    "section", [kind for kind in sections() if kind is not StageUse], ids=lambda kind: kind.__name__
)
def test_unknown_keys_are_errors_everywhere(section: type[Section]) -> None:
    assert section.model_config["extra"] == "forbid"
    definition = section.model_json_schema()
    assert definition["additionalProperties"] is False


def test_the_reference_page_is_the_schema() -> None:
    page = Path(__file__).parents[2] / "docs/reference/configuration.md"
    assert page.read_text(encoding="utf-8") == markdown_reference(), "run `make docs`"


def test_the_configuration_and_the_command_line_import_no_torch() -> None:
    code = (
        "import sys, kit, kit.config, kit.config.show, kit.cli, kit.pipeline;"
        "heavy = {'torch', 'transformers', 'datasets', 'evaluate', 'trl', 'peft', 'copier'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_the_config_room_imports_nothing_of_ours() -> None:
    code = (
        "import sys, kit.config, kit.config.show;"
        "print(sorted(name for name in sys.modules"
        " if name.startswith('kit.') and not name.startswith('kit.config')))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(out.replace("'", '"')) == []
