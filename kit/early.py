"""What can be told before torch is imported or anything is prepared: seconds or minutes earlier than where it
would be met. Imports nothing heavy but what the project's own hooks import."""

import json
from pathlib import Path

from kit.config import LoadedConfig
from kit.config.errors import CasekitError, Problem
from kit.config.explain import suggest
from kit.config.methods import too_wide
from kit.config.ranges import RANGES
from kit.config.schema import Model
from kit.config.schema_train import Hardware
from kit.hooks import load_hooks


def check_early(loaded: LoadedConfig, model: bool = True, prepared: bool = False) -> LoadedConfig:
    """The settings as they were given, if nothing is wrong that can be seen at once.

    Args:
        model: whether the model that they name will be loaded.
        prepared: whether prepared data will be read.

    Raises:
        CasekitError: a metric is unknown, a GPU is asked for and there is none, the model's name is a path
            that leads nowhere, a bottleneck is wider than the model, or no data was ever prepared; all such
            problems at once.
    """
    problems = [*_unknown_metrics(loaded), *missing_device(loaded.config.hardware)]
    if model:
        from kit.models.loading import missing_folder

        problems += missing_folder(loaded.config.model)
        problems += too_wide(loaded.config.method, _hidden_size(loaded.config.model))
    if prepared:
        from kit.data.prepared import never_prepared

        problems += never_prepared(loaded.root)
    if problems:
        raise CasekitError(problems)
    return loaded


def missing_device(hardware: Hardware) -> list[Problem]:
    """That a GPU is asked for and there is none. Only where one is asked for is torch imported to see."""
    if hardware.device != "cuda":
        return []
    from kit.models.loading import device

    try:
        device(hardware)
    except CasekitError as error:
        return error.problems
    return []


def _hidden_size(model: Model) -> int | None:
    """The width of a model on this machine, from its configuration; None where it has to be fetched."""
    if model.name == "tiny":
        from kit.models.tiny import ARCHITECTURE

        return int(ARCHITECTURE["hidden_size"])
    try:
        told = json.loads((Path(model.name).expanduser() / "config.json").read_text(encoding="utf-8"))
        found = told.get("hidden_size") or (told.get("text_config") or {}).get("hidden_size")
    except (OSError, ValueError, AttributeError):  # loading it says what is wrong
        return None
    return found if isinstance(found, int) else None


def _unknown_metrics(loaded: LoadedConfig) -> list[Problem]:
    """Names in `evaluate.metrics` that are neither the kit's nor the project's.

    Raises:
        ConfigError: the project's hooks cannot be imported.
    """
    known = [*(name for name in RANGES if name != "judge"), *load_hooks(loaded.root).metrics]
    return [
        Problem(
            where=loaded.origin(("evaluate", "metrics", number)).where,
            message=f"`evaluate.metrics[{number}]`: unknown metric {use.name!r}",
            hint=suggest(use.name, sorted(known), "known"),
        )
        for number, use in enumerate(loaded.config.evaluate.metrics)
        if use.name not in known
    ]
