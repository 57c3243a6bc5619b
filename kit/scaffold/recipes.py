"""The presets: what there is, and the text of one."""

from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.table import Table
from rich.text import Text

from kit.config.errors import ConfigError
from kit.config.schema import Config
from kit.scaffold.answers import not_a_choice
from kit.scaffold.source import questions, scaffold_root


@dataclass(frozen=True)
class RecipeSummary:
    """A recipe in a line."""

    name: str
    title: str
    summary: str
    languages: list[str]
    tiers: list[str]
    metrics: list[str]
    """Most important first."""


def list_recipes() -> list[RecipeSummary]:
    """Every recipe, in the order in which `casekit new` offers them."""
    root = scaffold_root()
    return [_summary(root, name) for name in _names(root)]


def recipe_text(name: str) -> str:
    """The recipe's file, comments and all: what becomes `conf/recipe.yaml` in a project.

    Raises:
        ConfigError: there is no such recipe; names those there are.
    """
    root = scaffold_root()
    names = _names(root)
    if name not in names:
        raise ConfigError(not_a_choice("recipe", name, names))
    return _file(root, name).read_text(encoding="utf-8")


def recipes_table(summaries: list[RecipeSummary]) -> Table:
    """The list for a terminal."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 1, 0))
    table.add_column("recipe", no_wrap=True, style="bold", vertical="top")
    table.add_column("what it is", overflow="fold")
    for recipe in summaries:
        about = Text(recipe.title)
        about.append(f"\n{recipe.summary}", style="dim")
        about.append(
            f"\nlanguages {', '.join(recipe.languages)} · tiers {', '.join(recipe.tiers)}", style="dim"
        )
        about.append(f"\nmetrics   {', '.join(recipe.metrics)}", style="dim")
        table.add_row(recipe.name, about)
    return table


def _names(root: Path) -> list[str]:
    return list(next(question.choices for question in questions(root) if question.name == "recipe"))


def _file(root: Path, name: str) -> Path:
    return root / "recipes" / name / "recipe.yaml"


def _summary(root: Path, name: str) -> RecipeSummary:
    tree = yaml.safe_load(_file(root, name).read_text(encoding="utf-8"))
    head = tree["recipe"]
    metrics = tree.get("evaluate", {}).get("metrics", [])
    return RecipeSummary(
        name=name,
        title=head["title"],
        summary=" ".join(head.get("summary", "").split()),
        languages=head.get("languages", Config().recipe.languages),
        tiers=list(tree.get("tiers", {})),
        metrics=[metric if isinstance(metric, str) else metric["name"] for metric in metrics],
    )
