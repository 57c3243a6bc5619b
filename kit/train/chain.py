"""Stages in turn (`train.stages`): from which golden checkpoint a run begins, and where a chain goes on.

Every stage is a run of its own, whose settings are those of its stage alone. Its manifest says which stages
the chain has (`chain`) and from which run it began (`continues`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.config.errors import ConfigError, InvalidRunError, Problem
from kit.config.layers import LoadedConfig
from kit.config.schema import Config, Model
from kit.config.yaml_lines import load_yaml
from kit.models.loading import is_adapter, weights_sha256
from kit.models.soft_prompts import count_positions
from kit.train.opening import held
from kit.train.processes import is_main
from kit.train.resume import KEEPS_LESS, SHAPES_THE_RUN, check_same_settings, differences, set_at, told
from kit.train.runs import find_run, latest_unfinished_run, list_runs, load_manifest


@dataclass(frozen=True)
class Link:
    """The place of a run in a chain of stages."""

    stages: Sequence[str]
    number: int
    """Counted from 0."""
    before: Path | None
    """The run of the stage before; None where it is the first."""

    @property
    def golden(self) -> Path | None:
        """Where the run's weights begin; None is the base."""
        return self.before / "golden" if self.before else None

    def facts(self, base_sha256: str, fingerprint: str) -> dict[str, Any]:
        """What the manifest says of it.

        Raises:
            ConfigError: the run before has no golden checkpoint, or was trained on other data.
            InvalidRunError: it stands on another base.
        """
        chain = {"stages": list(self.stages), "number": self.number + 1}
        if self.before is None or self.golden is None:
            return {"chain": chain, "continues": None}
        if not (self.golden / "golden.json").is_file():
            message = "has no golden checkpoint, from which the next stage goes on"
            raise ConfigError(Problem(str(self.before), message, "start the chain anew: `casekit train`"))
        then = load_manifest(self.before)
        if then["data"]["fingerprint"] != fingerprint:
            message = (
                f"was trained on data {then['data']['fingerprint']}, and the data is {fingerprint} now: what "
                "one stage learns from, another may test"
            )
            hint = "restore the data, or start the chain anew: `casekit train`"
            raise ConfigError(Problem(str(self.before), message, hint))
        if then["model"]["sha256"] != base_sha256:
            message = f"stands on a base of sha256 {then['model']['sha256']}, which is {base_sha256} now"
            hint = "restore those weights (pin `model.revision`), or start the chain anew: `casekit train`"
            raise InvalidRunError(Problem(str(self.before), message, hint))
        continues = {"run": self.before.name, "sha256": weights_sha256(self.golden)}
        return {"chain": chain, "continues": continues}


ALONE: dict[str, Any] = {"chain": None, "continues": None}
"""What the manifest says of a run that is no part of a chain."""


def check_same_start(run: Path, facts: dict[str, Any]) -> None:
    """Refuse to resume a run whose first weights are not there any more as they were.

    Args:
        facts: of its link now.

    Raises:
        InvalidRunError: the golden checkpoint that it goes on from has changed (exit code 4).
    """
    then, now = load_manifest(run).get("continues"), facts.get("continues")
    if then != now:
        message = f"began from the golden checkpoint {then}, which is {now} now"
        raise InvalidRunError(Problem(str(run), message, "start the chain anew: `casekit train`"))


def to_resume(root: Path, run_id: str | None = None) -> Path:
    """The run that `--resume` is about: the one that is named, else the newest that did not finish, or whose
    chain of stages did not.

    Raises:
        ConfigError: there is none.
    """
    return find_run(root, run_id) if run_id else _newest_open(root)


def go_on(loaded: LoadedConfig, run_id: str | None) -> tuple[Link, Path | None]:
    """Where `--resume` goes on: the place in the chain, and the run to continue, which is None where the
    chain was cut off between two runs.

    Args:
        loaded: the settings as they are now.
        run_id: as of `to_resume`.

    Raises:
        ConfigError: there is nothing to go on with, or the chain's stages or their settings have changed.
    """
    root = loaded.root
    run = to_resume(root, run_id)
    manifest, now = load_manifest(run), list(loaded.config.train.names)
    then, number = _place(manifest)
    if then != now and (manifest.get("chain") or len(now) > 1):
        message = f"`train.stages` was {then} when it began and is {now} now"
        raise ConfigError(Problem(str(run), message, "restore it, or start a new chain"))
    if manifest["status"] == "finished" and number + 1 < len(now) and not _follower(root, run):
        _check_earlier(loaded, run, number)
        return Link(now, number + 1, run), None
    before = _before(root, manifest)
    if before is not None:
        _check_earlier(loaded, before, number - 1)
    check_same_settings(run, loaded.of_stage(number))
    return Link(now, number, before), run


@contextmanager
def alone_after(before: Path | None) -> Iterator[None]:
    """Within the block no other process begins the stage after the run `before`, if there is one.

    Of several training processes the main one sees to it.

    Raises:
        ConfigError: another process is at it, or has begun that stage meanwhile.
    """
    if before is None or not is_main():
        yield
        return
    with held(before, "the stage after it is being trained"):
        if begun := _follower(before.parent.parent, before):
            message = f"the stage after it has begun meanwhile: {begun.name}"
            hint = "`casekit train --resume` goes on with it, should it be left unfinished"
            raise ConfigError(Problem(str(before), message, hint))
        yield


def _newest_open(root: Path) -> Path:
    for run in reversed(list_runs(root)):
        manifest = load_manifest(run)
        stages, number = _place(manifest)
        if manifest["status"] != "finished" or (number + 1 < len(stages) and not _follower(root, run)):
            return run
    return latest_unfinished_run(root)  # says that there is none


def _place(manifest: dict[str, Any]) -> tuple[list[str], int]:
    """The stages of a run's chain, and which of them it is, counted from 0."""
    chain = manifest.get("chain")
    return (chain["stages"], chain["number"] - 1) if chain else ([manifest["stage"]], 0)


def _before(root: Path, manifest: dict[str, Any]) -> Path | None:
    continues = manifest.get("continues")
    return root / "runs" / continues["run"] if continues else None


def _follower(root: Path, run: Path) -> Path | None:
    """The run that goes on from this one, if there is one."""
    return next((other for other in list_runs(root) if _before(root, load_manifest(other)) == run), None)


def _check_earlier(loaded: LoadedConfig, run: Path | None, last: int) -> None:
    """Refuse a chain of which a stage that is done would be trained otherwise now.

    Args:
        run: of the last stage that is done.
        last: its number, counted from 0.
    """
    root, found = loaded.root, []
    for number in range(last, -1, -1):
        if run is None:
            break
        stage = loaded.of_stage(number)
        then, _ = load_yaml(run / "config.yaml")
        found += [
            Problem(
                run.name,
                f"`{key}` {told('was', before)} when it was trained and {told('is', after)} now"
                f"{set_at(stage, key)}",
            )
            for key, before, after in differences(then, stage.config.model_dump(mode="json"), SHAPES_THE_RUN)
            if key not in KEEPS_LESS
        ]
        run = _before(root, load_manifest(run))
    if found:
        hint = (
            "restore these (a chain goes on with the words it began with), or start it anew: `casekit train`"
        )
        raise ConfigError([*found, Problem(str(root / "runs"), "the chain cannot go on as it began", hint)])


def starting_model(config: Config, golden: Path | None) -> Model:
    """The model whose weights are loaded first: the base, or a golden checkpoint that is a model itself."""
    if golden is None or is_adapter(golden):
        return config.model
    return config.model.model_copy(update={"name": str(golden), "revision": None})


def continue_adapter(base: Any, golden: Path) -> Any:
    """The adapter of a golden checkpoint beside its base, to be trained on."""
    from peft import PeftConfig, PeftModel, get_peft_model

    from kit.models.bottleneck import register

    register()
    settings = PeftConfig.from_pretrained(str(golden))
    if not settings.is_prompt_learning:
        return PeftModel.from_pretrained(base, str(golden), is_trainable=True)
    # PEFT loads virtual tokens to answer with only; as new ones, with the weights set, they are trained.
    settings.inference_mode = False
    model = get_peft_model(base, settings)
    restore_adapter(model, golden)
    count_positions(model)
    return model


def restore_adapter(model: Any, golden: Path) -> None:
    """Set the adapter to the golden weights again: TRL rounds one beside a 4-bit base to bfloat16."""
    from peft import load_peft_weights, set_peft_model_state_dict

    set_peft_model_state_dict(model, load_peft_weights(str(golden)))
