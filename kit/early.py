"""What can be told before torch is imported or anything is prepared: seconds or minutes earlier than where it
would be met. Imports nothing heavy but what the project's own hooks import."""

from kit.config import LoadedConfig
from kit.config.errors import CasekitError, Problem
from kit.config.explain import suggest
from kit.config.ranges import RANGES
from kit.hooks import load_hooks


def check_early(loaded: LoadedConfig, model: bool = True, prepared: bool = False) -> LoadedConfig:
    """The settings as they were given, if nothing is wrong that can be seen at once.

    Args:
        model: whether the model that they name will be loaded.
        prepared: whether prepared data will be read.

    Raises:
        CasekitError: a metric is unknown, the model's name is a path that leads nowhere, or no data was
            ever prepared; all such problems at once.
    """
    problems = _unknown_metrics(loaded)
    if model:
        from kit.models.loading import missing_folder

        problems += missing_folder(loaded.config.model)
    if prepared:
        from kit.data.prepared import never_prepared

        problems += never_prepared(loaded.root)
    if problems:
        raise CasekitError(problems)
    return loaded


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
