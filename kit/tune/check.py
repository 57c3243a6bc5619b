"""What can be searched."""

from itertools import product
from pathlib import Path

from kit.config.errors import ConfigError, Problem
from kit.config.layers import LoadedConfig, load_config
from kit.config.methods import USED_BY
from kit.tune.search import words_of

ADAPTED = USED_BY["rank"]
"""Methods that have a rank."""


def check_tunable(loaded: LoadedConfig, prepared: Path) -> None:
    """Refuse a search that could compare nothing, or of which a trial could not begin.

    Raises:
        ConfigError: names everything that stands in its way.
    """
    config, problems = loaded.config, []
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
    problems = problems or refused_trials(loaded)
    if problems:
        raise ConfigError(problems)


def refused_trials(loaded: LoadedConfig) -> list[Problem]:
    """What the settings say against trials of each rank with each batch; the same is said once."""
    listed = {name: getattr(loaded.config.tune, name) for name in ("rank", "global_batch_size")}
    searched = {name: choices for name, choices in listed.items() if choices}
    found: dict[str, Problem] = {}
    for drawn in product(*searched.values()):
        words = words_of(dict(zip(searched, drawn, strict=True)), loaded.config)
        try:
            load_config(loaded.root, [*loaded.overrides, *words])
        except ConfigError as error:
            for problem in error.problems:
                message = f"a trial by {' '.join(words)} is refused: {problem.message}"
                found.setdefault(problem.message, Problem("tune", message, problem.hint))
    return list(found.values())
