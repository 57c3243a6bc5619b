"""What can be searched, and where a search lies."""

from pathlib import Path

from kit.config.errors import ConfigError, Problem
from kit.config.schema import Config
from kit.files import sha256_json

ADAPTED = ("lora", "qlora", "oft")
"""Methods that have a rank."""


def check_tunable(config: Config, prepared: Path) -> None:
    """Refuse a search that could compare nothing.

    Raises:
        ConfigError: names everything that stands in its way.
    """
    problems = []
    if config.train.stages:  # of one stage too: what it says lies over the settings that trials change
        hint = "set train.stage in its place: each stage has a rate of its own"
        problems.append(Problem("train.stages", "a search is over one stage", hint))
    if config.hardware.world_size > 1:
        hint = "set hardware.num_processes to 1, or start a search on each GPU in a copy of the project"
        problems.append(Problem("hardware.num_processes", "trials run in one process", hint))
    if config.tune.rank and config.method.name not in ADAPTED:
        message = f"ranks are searched, and method {config.method.name} has none"
        problems.append(Problem("tune.rank", message, "take it out, or set method to lora"))
    if not any((prepared / "valid").glob("*.arrow")):
        hint = "give `data.split` a share of validation rows and prepare the data again"
        problems.append(Problem("data.split", "there is no validation row to compare trials by", hint))
    if problems:
        raise ConfigError(problems)


def search_folder(config: Config, root: Path, prepared: Path) -> Path:
    """`tuning/<id>`: the same search, whatever its budget, is the same folder.

    The id covers the data and every setting that shapes a trial; of `tune` all but the budget.
    """
    settings = config.model_dump(mode="json")
    shaping = {name: settings[name] for name in ("seed", "model", "method", "train", "evaluate")}
    searched = {
        name: value for name, value in settings["tune"].items() if name not in ("trials", "max_hours")
    }
    return root / "tuning" / sha256_json([prepared.name, shaping, searched])[:12]
