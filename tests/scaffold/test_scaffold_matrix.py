"""Every recipe with every answer: the files, what they hold, and that they are clean."""

import itertools
import json
import keyword
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from scaffold_projects import RECIPES, ROOT, Render, contents, render

from kit.config import load_config
from kit.config.schema import Config
from kit.config.show import json_schema
from kit.data.prepare import prepare
from kit.data.prepared import load_summary
from kit.hooks import load_hooks
from kit.models.tiny import new_tokenizer

HARDWARE = {"cpu": "tiny", "gpu-24gb": "startup", "gpu-80gb": "large"}
TRACKERS = ["tensorboard", "wandb", "mlflow", "trackio"]
CI_FILES = {"github": [".github/workflows/checks.yml"], "gitlab": [".gitlab-ci.yml"], "none": []}
FILES = [
    ".copier-answers.yml",
    ".dockerignore",
    ".gitignore",
    ".pre-commit-config.yaml",
    "Dockerfile",
    "Makefile",
    "README.md",
    "conf/dialogues.yaml",
    "conf/policy.yaml",
    "conf/project.yaml",
    "conf/recipe.yaml",
    "conf/schema.json",
    "data/README.md",
    "pyproject.toml",
    "src/PACKAGE/__init__.py",
    "src/PACKAGE/hooks.py",
    "tests/test_hooks.py",
    "tests/test_project.py",
]
VERBATIM = ["recipe.yaml", "policy.yaml", "dialogues.yaml"]
TEMPLATE_MARKS = re.compile(r"(?<!\$)\{\{|\{%|\{#")


def languages_of(recipe: str) -> list[str]:
    head = yaml.safe_load((ROOT / "recipes" / recipe / "recipe.yaml").read_text(encoding="utf-8"))["recipe"]
    return head.get("languages", ["en"])


def choices_of_languages(recipe: str) -> list[list[str]]:
    """Every subset that can be chosen; a recipe of one language does not ask."""
    served = languages_of(recipe)
    sizes = range(1, len(served) + 1)
    return [list(chosen) for size in sizes for chosen in itertools.combinations(served, size)]


def every_pair(**axes: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Few combinations in which every two answers meet: no file depends on more than two."""
    columns = list(itertools.combinations(range(len(axes)), 2))
    rows = list(itertools.product(*axes.values()))
    pairs = {row: {(i, str(row[i]), j, str(row[j])) for i, j in columns} for row in map(freeze, rows)}
    missing = set().union(*pairs.values())
    while missing:
        row = max(pairs, key=lambda row: len(pairs[row] & missing))
        missing -= pairs[row]
        yield dict(zip(axes, row, strict=True))


def freeze(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in row)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_answer_gives_exactly_the_expected_project(recipe: str, scaffold: Path, tmp_path: Path) -> None:
    package = f"{recipe}_assistant"
    verbatim = {name: (scaffold / "recipes" / recipe / name).read_bytes() for name in VERBATIM}
    rows = every_pair(
        hardware=list(HARDWARE), tracking=TRACKERS, ci=list(CI_FILES), languages=choices_of_languages(recipe)
    )
    for number, row in enumerate(rows):
        given = {"recipe": recipe, **row, "languages": list(row["languages"])}
        files = contents(render(scaffold, tmp_path / str(number), **given))
        expected = {name.replace("PACKAGE", package) for name in FILES + CI_FILES[given["ci"]]}
        assert set(files) == expected, given
        assert {name: files[f"conf/{name}"] for name in VERBATIM} == verbatim, given
        assert yaml.safe_load(files["conf/project.yaml"]) == expected_settings(given), given
        dependencies = tomllib.loads(files["pyproject.toml"].decode())["project"]["dependencies"]
        extra = [f"casekit[{name}]" for name in [given["tracking"]] if name != "tensorboard"]
        assert dependencies[1:] == extra, given
        assert recorded(files) == recorded_of(given), given


def expected_settings(given: dict[str, Any]) -> dict[str, Any]:
    """The deltas to the recipe, and nothing else."""
    project: dict[str, Any] = {"name": f"{given['recipe']}-assistant"}
    if given["languages"] != languages_of(given["recipe"]):
        project["languages"] = given["languages"]
    expected: dict[str, Any] = {"project": project, "tier": HARDWARE[given["hardware"]]}
    if given["tracking"] != "tensorboard":
        expected["tracking"] = {"report_to": [given["tracking"]]}
    return expected


def recorded(files: dict[str, bytes]) -> dict[str, Any]:
    answers = yaml.safe_load(files[".copier-answers.yml"])
    return {name: value for name, value in answers.items() if not name.startswith("_")}


def recorded_of(given: dict[str, Any]) -> dict[str, Any]:
    """Asked answers are recorded; computed ones are not, so that an update computes them anew."""
    asked = {**given, "project_name": f"{given['recipe']}-assistant"}
    if len(languages_of(given["recipe"])) == 1:
        del asked["languages"]
    return asked


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_every_file_parses_and_no_mark_of_the_template_is_left(recipe: str, ci: str, make: Render) -> None:
    project = make(recipe=recipe, ci=ci, hardware="gpu-80gb", tracking="mlflow")
    for name, content in contents(project).items():
        text = content.decode("utf-8")
        assert not TEMPLATE_MARKS.search(text), f"{name}: {TEMPLATE_MARKS.search(text)}"
        assert text.endswith("\n"), name
        assert not text.endswith("\n\n"), name
        if not name.startswith("conf/"):  # those are the recipe's own bytes
            assert not re.search(r"[ \t]$", text, re.MULTILINE), f"{name}: blanks at the end of a line"
            assert not re.search(r"\n\n\n\n", text), f"{name}: a hole of empty lines"
        match Path(name).suffix:
            case ".yaml" | ".yml":
                yaml.safe_load(text)
            case ".toml":
                tomllib.loads(text)
            case ".json":
                json.loads(text)
            case ".py":
                compile(text, name, "exec")


def test_projects_are_clean_to_the_linter_and_the_formatter(scaffold: Path, tmp_path: Path) -> None:
    for recipe in RECIPES:
        render(scaffold, tmp_path / recipe, recipe=recipe)
    for check in (["check"], ["format", "--check", "--diff"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, *RECIPES], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_readme_says_what_the_recipe_says(recipe: str, make: Render) -> None:
    project = make(recipe=recipe)
    readme = (project / "README.md").read_text(encoding="utf-8")
    config = load_config(project, ["tier=null"]).config
    title = "Assistant for a domain of its own" if recipe == "blank" else config.recipe.title
    assert f"**{title}.** {config.recipe.summary.strip()}" in readme
    wanted = [*config.recipe.not_for, *(claim.name for claim in config.claims)]
    wanted += [gate.name for gate in config.gates] + [f"`{name}`" for name in config.tiers]
    wanted += [tier.licence for tier in config.tiers.values()]
    assert [text for text in wanted if text not in readme] == []
    assert "\n\n\n" not in readme
    assert config.gates, "a recipe without gates stops no release"


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_settings_resolve_for_every_tier(recipe: str, make: Render) -> None:
    project = make(recipe=recipe)
    for tier in load_config(project).config.tiers:
        config = load_config(project, [f"tier={tier}"]).config
        assert config.tier == tier
        assert config.project.name == f"{recipe}-assistant"


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_choice_of_hardware_can_run_the_tier_it_chooses(
    recipe: str, scaffold: Path, tmp_path: Path
) -> None:
    """Held against what the tier says it `needs`, in the project that the answer makes."""
    choices = yaml.safe_load((scaffold / "copier.yml").read_text(encoding="utf-8"))["hardware"]["choices"]
    assert set(choices.values()) == set(HARDWARE)
    for label, answer in choices.items():
        config = load_config(render(scaffold, tmp_path / answer, recipe=recipe, hardware=answer)).config
        assert config.tier == HARDWARE[answer]
        assert f"tier {config.tier}" in label
        needs = config.tiers[config.tier].needs
        if answer == "cpu":
            assert "CPU" in label and "CPU" in needs and "GPU" not in needs
        else:
            assert label.startswith("One GPU") and needs.startswith("one GPU "), needs
            assert gigabytes(needs) <= gigabytes(label)


def gigabytes(text: str) -> int:
    (size,) = re.findall(r"(\d+) GB", text)
    return int(size)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_commented_example_of_own_data_works_when_uncommented(recipe: str, make: Render) -> None:
    project = make(recipe=recipe)
    _, record = examples(project)
    settings_file = project / "conf/project.yaml"
    text = settings_file.read_text(encoding="utf-8")
    commented = re.search(r"(?m)^# data:\n(#   .*\n)+", text)
    assert commented, text
    uncommented = re.sub(r"(?m)^# ", "", commented[0])
    settings_file.write_text(text.replace(commented[0], uncommented), encoding="utf-8")
    config = load_config(project, ["model=tiny"]).config
    [source] = config.data.sources
    raw = project / str(source.path)
    raw.parent.mkdir(parents=True)
    records = [vary(record, number) for number in range(60)]
    if group := config.data.split.group_by:
        records = [{**each, group: f"{each[group]}-{number}"} for number, each in enumerate(records)]
    raw.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")

    folder = prepare(config, project, load_hooks(project), new_tokenizer(raw.read_text().splitlines()))

    count = load_summary(folder)["rows"]
    assert (count["read"], count["kept"]) == (60, 60), (folder / "rejected.jsonl").read_text()
    assert min(count["train"], count["valid"], count["test"]) > 0


def examples(project: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The row and the raw record that data/README.md shows."""
    page = (project / "data/README.md").read_text(encoding="utf-8")
    row, record = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL))
    return row, record


def vary(value: Any, number: int) -> Any:
    """The same record with other sentences, so that its copies are no duplicates."""
    if isinstance(value, dict):
        return {name: vary(inner, number) for name, inner in value.items()}
    if isinstance(value, list):
        return [vary(inner, number) for inner in value]
    return f"{value} ({number})" if isinstance(value, str) and value.count(" ") > 2 else value


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_example_row_has_every_column_that_the_recipe_reads(recipe: str, make: Render) -> None:
    project = make(recipe=recipe)
    data = load_config(project).config.data
    row, _ = examples(project)
    assert set(data.expected) | set(data.slices) <= set(row)
    assert row["messages"][-1]["role"] == "assistant"


def test_the_schema_that_editors_use_is_the_kits_own(make: Render) -> None:
    committed = json.loads((make(recipe="blank") / "conf/schema.json").read_text(encoding="utf-8"))
    assert committed == json_schema(), "run `make docs`"
    assert set(committed["properties"]) == set(Config.model_fields)


def test_project_names_that_cannot_work_are_refused(scaffold: Path, tmp_path: Path) -> None:
    for name in (
        "Loans",
        "loans_chat",
        "2loans",
        "loans-",
        "lo ans",
        "",
        "evaluate",
        "kit",
        "class",
        "../loans",
        "re",
        "os",
        "typing-extensions",
        "huggingface-hub",
        "pyyaml",
    ):
        with pytest.raises(ValueError, match="project_name"):
            render(scaffold, tmp_path / "refused", recipe="finance", project_name=name)
        assert not (tmp_path / "refused").exists()
    project = render(scaffold, tmp_path / "named", recipe="finance", project_name="loans2-chat")
    assert (project / "src/loans2_chat/hooks.py").is_file()
    assert tomllib.loads((project / "pyproject.toml").read_text())["project"]["name"] == "loans2-chat"


def test_no_project_can_be_named_like_a_module_that_it_imports() -> None:
    page = (ROOT / "template/_reserved_names.txt").read_text(encoding="utf-8")
    reserved = set(re.sub(r"\{#.*?#\}", "", page, flags=re.DOTALL).split())
    packages = requirements("casekit", "pytest", "ruff")
    modules = packages_distributions().items()
    installed = {module for module, owners in modules if {canonical(owner) for owner in owners} & packages}
    installed |= {package.replace("-", "_") for package in packages}
    possible = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
    extras = {"mlflow", "wandb", "trackio", "spacy", "presidio_analyzer", "vllm"}
    needed = {*sys.stdlib_module_names, *keyword.kwlist, *installed, *extras, "kit"}
    assert {name for name in needed if possible.fullmatch(name)} - reserved == set()
    assert [name for name in reserved if not possible.fullmatch(name)] == []
    assert not reserved & {"loans", "shop", "assistant", "finance_assistant"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(*names: str) -> set[str]:
    """The packages that an installation of these brings, as far as they are installed here."""
    found: set[tuple[str, tuple[str, ...]]] = set()
    waiting: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in names]
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in found:
            continue
        found.add((name, extras))
        try:
            required = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:  # another platform's, or a tracker nobody installed
            continue
        for one in required:
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append((canonical(one.name), tuple(sorted(one.extras))))
    return {name for name, _ in found}


def test_the_questions_are_few_and_each_is_explained() -> None:
    tree = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    asked = {
        name: entry
        for name, entry in tree.items()
        if not name.startswith("_") and entry.get("when") is not False
    }
    assert len(asked) <= 8
    for name, entry in asked.items():
        assert entry["help"], name
        assert entry.get("choices") or entry.get("validator"), f"{name}: free text needs a validator"
    assert not {"_tasks", "_migrations", "_jinja_extensions"} & set(tree), "these would ask users for --trust"


def test_the_choices_of_recipe_are_the_recipes_there_are() -> None:
    tree = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    assert sorted(tree["recipe"]["choices"].values()) == sorted(
        path.parent.name for path in ROOT.glob("recipes/*/recipe.yaml")
    )
    assert sorted(RECIPES) == sorted(tree["recipe"]["choices"].values())


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("recipes/*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_recipes_hold_no_template_marks_because_they_are_included(file: Path) -> None:
    assert not re.search(r"\{\{|\{%|\{#", file.read_text(encoding="utf-8"))


def test_names_in_the_template_are_valid_on_windows_once_rendered(make: Render) -> None:
    for name in contents(make(recipe="medical")):
        assert not re.search(r'[<>:"\\|?*]', name)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_data_contract_speaks_of_the_recipe_s_own_columns(recipe: str, make: Render) -> None:
    project = make(recipe=recipe)
    page = (project / "data/README.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"(?m)^\| `(\w+)`[^|]* \| ([^|]+) \|", page))
    data = load_config(project).config.data
    assert set(data.expected) | set(data.slices) <= set(table)
    read = (ROOT / "kit/evaluate/metrics").rglob("*.md")
    documented = " ".join(card.read_text(encoding="utf-8") for card in read)
    documented += (ROOT / "kit/evaluate/policy.py").read_text(encoding="utf-8")
    for column, needed in table.items():
        if needed == "by metrics" and column != "topic":
            assert f"`{column}`" in documented, f"no metric reads {column}"
    group = re.search(r"group_by: (\w+)", (project / "conf/project.yaml").read_text(encoding="utf-8"))
    assert group and f"| `{group[1]}`, or another group |" in page
    assert ("customer" in page) == (recipe in ("finance", "ecommerce"))


@pytest.mark.parametrize("recipe", ["finance", "blank"])
def test_the_checks_run_on_every_push(recipe: str, make: Render) -> None:
    """YAML 1.1 reads the key `on` as true."""
    workflow = yaml.safe_load((make(recipe=recipe) / ".github/workflows/checks.yml").read_text())
    assert workflow[True] == ["push", "pull_request"]
