"""The settings and data that a run is evaluated, reported and talked to by: the project's, and its own."""

from pathlib import Path

from kit.config import Config, LoadedConfig
from kit.config.errors import ConfigError, Problem
from kit.config.explain import dotted
from kit.config.show import leaves
from kit.config.yaml_lines import load_yaml


def as_trained(loaded: LoadedConfig, run: Path) -> Config:
    """The project's settings as they are now, but model, method, data and training as the run had them.

    So that evaluating a run made with `model=…` on the command line compares it with its own base.

    Raises:
        ConfigError: a word on the command line would change what the run was made with.
    """
    loaded = _of_its_stage(loaded, run)
    tree, _ = load_yaml(run / "config.yaml")
    trained = Config.model_validate(tree)
    kept = {name: getattr(trained, name) for name in ("model", "method", "train", "data", "seed", "tier")}
    then = dict(leaves(trained.model_dump(mode="json")))
    ignored = {
        origin.where: dotted(key)
        for key, value in leaves(loaded.config.model_dump(mode="json"))
        if key[0] in kept
        and (origin := loaded.origin(key)).layer == "command line"
        and then.get(key) != value
    }
    if ignored:
        hint = f"leave it out, or train again: {run.name} was made with other settings"
        raise ConfigError(
            [Problem(where, f"`{setting}` is the run's own", hint) for where, setting in ignored.items()]
        )
    return loaded.config.model_copy(update=kept)


def prepared_of(root: Path, run: Path) -> Path:
    """The prepared data a run was trained on."""
    from kit.data.prepared import prepared_folder
    from kit.train.runs import load_manifest

    return prepared_folder(root, load_manifest(run)["data"]["fingerprint"])


def _of_its_stage(loaded: LoadedConfig, run: Path) -> LoadedConfig:
    """The settings as those of the run's stage, where it is one of the chain that the project has now."""
    from kit.train.runs import load_manifest

    chain = load_manifest(run).get("chain")
    if not chain or chain["stages"] != loaded.config.train.names:
        return loaded
    return loaded.of_stage(chain["number"] - 1)
