"""Whether an interrupted run may go on: same settings, same data, same base, same way of scoring.

A run that went on under other conditions would mix two experiments under one id, so every difference is
named and nothing is touched. The settings now are what the project's files say now, then the words of the
command line that the run began with, then those given with `--resume`; a run's `config.yaml` is what they
are held to.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kit.config.errors import ConfigError, InvalidRunError, Problem
from kit.config.layers import LoadedConfig
from kit.config.schema import Config
from kit.config.yaml_lines import load_yaml
from kit.train.runs import load_manifest
from kit.train.sharding import check_same_sharding

# Settings that change what a run computes; gates, trackers and the machine may change between its parts.
SHAPES_THE_RUN = ["seed", "model", "method", "train"]

KEEPS_LESS = {"train.save_total_limit"}
"""Settings under those that change only what is left on the disk, which may have become full."""
Difference = tuple[str, Any, Any]
"""A setting or fact: its key, its value then, its value now."""
SHAPES_THE_DATA = ["project", "data"]
"""Settings that change what a run learns from."""
LEAVES_THE_DATA = {"data.num_proc", "project.name"}
"""Settings under those that do not."""


OF_A_MACHINE = "hardware.machine_rank="
"""Begins the one word that is not the run's: which of several machines this is."""


def words_to_go_on(run: Path, words: Sequence[str]) -> list[str]:
    """The words of the command line that `run` began with, and these after them, which so go before.

    Each is there once: processes that are launched to go on with a run are given all its words already.
    """
    began_with = load_manifest(run).get("words", [])
    return later_last([*(word for word in began_with if not word.startswith(OF_A_MACHINE)), *words])


def later_last(words: Sequence[str]) -> list[str]:
    """The words, each once, where it stands last: later ones go before."""
    return list(dict.fromkeys(reversed(words)))[::-1]


def check_same_settings(run: Path, loaded: LoadedConfig) -> None:
    """Refuse to continue `run` on other settings than it began with, before anything heavy is loaded.

    Args:
        loaded: the settings of its stage as they are now.

    Raises:
        ConfigError: the run is finished, or a setting that shapes it or its data has changed; every
            difference is named, and where it stands now.
    """
    refuse_finished(run)
    _refuse(run, _changed_settings(run, loaded.config, [*SHAPES_THE_RUN, *SHAPES_THE_DATA]), loaded)


def set_at(loaded: LoadedConfig, key: str) -> str:
    """Where a setting stands, in brackets to follow its value; nothing where it is no setting."""
    parts = tuple(key.split("."))
    if parts[0] not in Config.model_fields:
        return ""
    origin = loaded.origin(parts)
    return f" ({origin.layer if origin.layer == 'kit default' else origin.where})"


def refuse_finished(run: Path) -> None:
    """Refuse to continue a run that is finished.

    Raises:
        ConfigError: it is.
    """
    if load_manifest(run)["status"] == "finished":
        raise ConfigError(
            Problem(where=str(run), message="is finished; there is nothing to resume", hint="start a new run")
        )


def check_resumable(
    run: Path, config: Config, data: Mapping[str, str], golden_choice: Mapping[str, Any]
) -> None:
    """Refuse to continue `run` on other terms than it began on.

    Args:
        data: the prepared data now: `fingerprint` and `sha256`.
        golden_choice: what the task score depends on now; see `kit.train.manifest.golden_choice`.

    Raises:
        ConfigError: the run is finished, or its data, the metric that picks its golden checkpoint or a
            setting that shapes it has changed (every difference is named), or its model was shared out
            otherwise.
    """
    refuse_finished(run)
    manifest = load_manifest(run)
    found = _changed_settings(run, config, SHAPES_THE_RUN)
    before = manifest["data"]
    if before != data:
        name = "sha256" if before["fingerprint"] == data["fingerprint"] else "fingerprint"
        found.append((f"data {name}", before[name], data[name]))
    scored = {"golden choice": manifest.get("golden_choice")}
    found += differences(scored, {"golden choice": golden_choice}, ["golden choice"])
    _refuse(run, found)
    check_same_sharding(run, config.hardware)


def _changed_settings(run: Path, config: Config, keys: list[str]) -> list[Difference]:
    """The settings under these keys that matter to the run and differ: the key, then, now."""
    settings, _ = load_yaml(run / "config.yaml")
    found = differences(settings, config.model_dump(mode="json"), keys)
    return [difference for difference in found if difference[0] not in KEEPS_LESS | LEAVES_THE_DATA]


def _refuse(run: Path, found: list[Difference], loaded: LoadedConfig | None = None) -> None:
    """Name every difference, if there is one; of settings where they stand now, as `loaded` knows it."""
    if found:
        hint = "restore these (a run goes on with the words it began with), or start a new run"
        advice = Problem(where=str(run), message="cannot be resumed as it began", hint=hint)
        raise ConfigError([*changed_since("the run began", found, loaded), advice])


def changed_since(
    then_when: str, found: list[Difference], loaded: LoadedConfig | None = None
) -> list[Problem]:
    """A problem for each of these differences; arguments as of `_refuse`."""
    return [
        Problem(
            where=key,
            message=f"{told('was', then)} when {then_when} and {told('is', now)} now"
            + (set_at(loaded, key) if loaded else ""),
            hint=f"see what changed: casekit data diff {then} {now}" if key == "data fingerprint" else "",
        )
        for key, then, now in found
    ]


def check_same_base(run: Path, base_sha256: str) -> None:
    """Refuse a base whose weights are not the ones that `run` began with.

    Raises:
        InvalidRunError: they differ (exit code 4). The checkpoints of an adapter mean nothing on others.
    """
    model = load_manifest(run)["model"]
    if model["sha256"] == base_sha256:
        return
    raise InvalidRunError(
        Problem(
            where=str(run),
            message=f"the weights of {model['name']!r} had sha256 {model['sha256']} when the run began "
            f"and have {base_sha256} now",
            hint="restore those weights (pin `model.revision`), or start a new run with `casekit train`",
        )
    )


ABSENT = object()
"""In place of a setting that there is not: of another version of the kit, or a file that is not named."""


def told(verb: str, value: Any) -> str:
    """A value of `differences` in words."""
    return f"{verb} not there" if value is ABSENT else f"{verb} {value!r}"


def differences(
    then: Mapping[str, Any], now: Mapping[str, Any], keys: list[str], prefix: str = ""
) -> list[Difference]:
    """The values under these keys that differ: the key, then, now."""
    found: list[Difference] = []
    for key in keys:
        before, after = then.get(key, ABSENT), now.get(key, ABSENT)
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after, sorted({*before, *after}), f"{prefix}{key}.")
        elif before != after:
            found.append((f"{prefix}{key}", before, after))
    return found
