"""A run's manifest: what was trained, on which data, with which code and machine, and how it ended.

A run that was interrupted has several sessions. What the run began with stands at the top; what each
session ran on stands with it.
"""

import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kit
from kit.config.grpo import rewards_of
from kit.config.schema import Config, MetricUse
from kit.files import sha256_file, sha256_json
from kit.hooks import Hooks
from kit.models.loading import device
from kit.train.processes import world_size
from kit.train.runs import load_manifest, save_manifest

if TYPE_CHECKING:
    import torch

PACKAGES = [
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "tokenizers",
    "safetensors",
    "bitsandbytes",
    "flash-attn",
]


NOTED = ("batch", "probe", "flops_per_token", "peak_flops")
"""What `kit.train.watch` adds to the manifest on disk while the run is on."""


def begin_manifest(
    config: Config,
    data: dict[str, str],
    base_sha256: str,
    golden_choice: dict[str, Any],
    place: Mapping[str, Any],
    name: str,
    before: Mapping[str, Any],
    resumed_at: int | None,
) -> dict[str, Any]:
    """The manifest as known before the model loads, with a session added to it.

    Args:
        place: which of several stages it is, and from which run it goes on; see `kit.train.chain`.
        name: of the run.
        before: its manifest until now; empty where it begins. A resumed run keeps when, with which settings
            and on what it began, and what was measured of it until it is again.
        resumed_at: the step that the run continues from; None where it begins.
    """
    settings, on = sha256_json(config.model_dump(mode="json")), environment(device(config.hardware))
    session = {
        "started": now(),
        "from_step": resumed_at or 0,
        "config_sha256": settings,
        "environment": on,
        "processes": world_size(),
        "sharding": config.hardware.sharding,
    }
    manifest = {
        **before,
        "schema": 1,
        "run": name,
        "status": "running",
        "stage": config.train.stage,
        **place,
        "method": config.method.name,
        "model": {"name": config.model.name, "revision": config.model.revision, "sha256": base_sha256},
        "data": data,
        "golden_choice": golden_choice,
        "config_sha256": before.get("config_sha256", settings),
        "environment": before.get("environment", on),
        "seed": config.seed,
        "started": before.get("started", session["started"]),
        "seconds": before.get("seconds", 0.0),
        "sessions": [*before.get("sessions", []), session],
        "stopped_early": False,
        "batch": before.get("batch"),
    }
    manifest.pop("ended", None)
    return manifest


def golden_choice(config: Config, root: Path, hooks: Hooks) -> dict[str, Any]:
    """Everything but the weights that the score which picks the golden checkpoint depends on.

    Its metric with parameters, the sha256 of the files that these name (a policy) and, for a metric of
    the project's own, of its hooks; the longest answer; the languages. Empty without a metric. Of grpo
    also the same of every metric that answers are rewarded by.
    """
    name = config.train.golden_metric or next((use.name for use in config.evaluate.metrics), None)
    if name is None:
        return {}
    found = {
        "metric": name,
        **_metric_facts(name, config, root, hooks),
        "max_new_tokens": config.evaluate.max_new_tokens,
        "languages": config.languages,
    }
    if config.train.stage == "grpo":
        found["rewards"] = {each: _metric_facts(each, config, root, hooks) for each in rewards_of(config)}
    return found


def _metric_facts(name: str, config: Config, root: Path, hooks: Hooks) -> dict[str, Any]:
    """A metric's parameters, and the sha256 of the files that decide what it says."""
    uses = {use.name: use for use in config.evaluate.metrics}
    params = uses.get(name, MetricUse(name=name)).params
    named = [root / value for value in params.values() if isinstance(value, str)]
    files = [path for path in named if path.is_file()]
    if name in hooks.metrics:
        files += hooks.files
    return {"params": params, "files": {_beside(path, root): sha256_file(path) for path in files}}


def _beside(path: Path, root: Path) -> str:
    """`path` as seen from the project, so that a project may be moved between two sessions."""
    path, root = path.resolve(), root.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def close_manifest(run: Path, manifest: dict[str, Any]) -> None:
    """Record how the run ended; whatever ended it otherwise than well leaves `failed` or `interrupted`."""
    from kit.train.metrics import loss_summary, read_metrics, watch_summary

    noted = load_manifest(run)
    golden = run / "golden" / "golden.json"
    if manifest["status"] == "running":
        manifest["status"] = "failed"
    record = json.loads(golden.read_text(encoding="utf-8")) if golden.is_file() else None
    session = manifest["sessions"][-1]
    since = datetime.fromisoformat(session["started"])
    session["ended"] = manifest["ended"] = now()
    session["seconds"] = round((datetime.now(UTC) - since).total_seconds(), 2)
    manifest["seconds"] = round(manifest["seconds"] + session["seconds"], 2)
    manifest["golden"] = record and {name: record[name] for name in ("step", "metric", "score", "eval_loss")}
    lines = read_metrics(run)
    manifest |= {"loss": loss_summary(lines), **watch_summary(lines)}
    manifest |= {name: noted.get(name) for name in NOTED}
    save_manifest(run, manifest)


def now() -> str:
    """The time in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment(on: "torch.device") -> dict[str, Any]:
    """What a session ran on: Python, platform, package versions, device, and the kit's code."""
    package = Path(kit.__file__).parent
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "device": str(on),
        **_gpu(on),
        "kit_version": kit.__version__,
        "kit_commit": _commit(package.parent),
        "kit_sha256": code_sha256(package),
    }


def _gpu(on: "torch.device") -> dict[str, Any]:
    """Name, memory in GiB (2^30 bytes) and CUDA version of the GPU, where there is one."""
    if on.type != "cuda":
        return {}
    import torch

    facts = torch.cuda.get_device_properties(on)
    memory = round(facts.total_memory / 2**30, 1)
    return {"gpu": facts.name, "gpu_memory_gib": memory, "cuda": torch.version.cuda}


def code_sha256(package: Path) -> str:
    """The sha256 over the kit's own files, which name the code also where it came from a wheel.

    Compiled files and the recipes that only a wheel holds are left out, so that a wheel and the checkout
    it was made from have the same.
    """
    files = {
        path.relative_to(package).as_posix(): sha256_file(path)
        for path in sorted(package.rglob("*"))
        if path.is_file() and not {"__pycache__", "_scaffold"} & set(path.relative_to(package).parts)
    }
    return sha256_json(files)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit(folder: Path) -> str | None:
    """The commit `folder` is at, marked `+changes` where files differ; None outside a repository."""
    if not (folder / ".git").exists():
        return None
    try:
        commit = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10
        )
        status = subprocess.run(
            ["git", "-C", str(folder), "status", "--porcelain", "--", "kit"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if commit.returncode != 0:
        return None
    return commit.stdout.strip() + ("+changes" if status.stdout.strip() else "")
