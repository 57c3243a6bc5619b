"""Whether an interrupted run may go on: same settings, same data, same base, same way of scoring.

A run that went on under other conditions would mix two experiments under one id, so every difference is
named and nothing is touched.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.config.errors import ConfigError, InvalidRunError, Problem
from kit.config.schema import Config
from kit.config.yaml_lines import load_yaml
from kit.train.runs import load_manifest
from kit.train.sharding import check_same_sharding

# Settings that change what a run computes; gates, trackers and the machine may change between its parts.
SHAPES_THE_RUN = ["seed", "model", "method", "train"]

KEEPS_LESS = {"train.save_total_limit"}
"""Settings under those that change only what is left on the disk, which may have become full."""


SHAPES_THE_DATA = ["project", "data"]
"""Settings that change what a run learns from."""
LEAVES_THE_DATA = {"data.num_proc", "project.name"}
"""Settings under those that do not."""


def check_same_settings(run: Path, config: Config) -> None:
    """Refuse to continue `run` on other settings than it began with, before anything heavy is loaded.

    Raises:
        ConfigError: the run is finished, or a setting that shapes it or its data has changed; every
            difference is named.
    """
    refuse_finished(run)
    _refuse(run, _changed_settings(run, config, [*SHAPES_THE_RUN, *SHAPES_THE_DATA]))


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


def _changed_settings(run: Path, config: Config, keys: list[str]) -> list[tuple[str, Any, Any]]:
    """The settings under these keys that matter to the run and differ: the key, then, now."""
    settings, _ = load_yaml(run / "config.yaml")
    found = differences(settings, config.model_dump(mode="json"), keys)
    return [difference for difference in found if difference[0] not in KEEPS_LESS | LEAVES_THE_DATA]


def _refuse(run: Path, found: list[tuple[str, Any, Any]]) -> None:
    """Name every difference, if there is one."""
    if found:
        problems = [
            Problem(
                where=key,
                message=f"{told('was', then)} when the run began and {told('is', now)} now",
                hint=f"see what changed: casekit data diff {then} {now}" if key == "data fingerprint" else "",
            )
            for key, then, now in found
        ]
        hint = "restore these (repeat the words of the command line), or start a new run"
        advice = Problem(where=str(run), message="cannot be resumed as it began", hint=hint)
        raise ConfigError([*problems, advice])


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
) -> list[tuple[str, Any, Any]]:
    """The values under these keys that differ: the key, then, now."""
    found: list[tuple[str, Any, Any]] = []
    for key in keys:
        before, after = then.get(key, ABSENT), now.get(key, ABSENT)
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after, sorted({*before, *after}), f"{prefix}{key}.")
        elif before != after:
            found.append((f"{prefix}{key}", before, after))
    return found
