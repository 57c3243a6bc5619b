"""A run's manifest: what was trained, on which data, with which code and machine, and how it ended."""

import json
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import kit
from kit.config.schema import Config
from kit.files import sha256_json
from kit.models.loading import device, model_folder, weights_sha256
from kit.train.runs import load_manifest, save_manifest

PACKAGES = ["torch", "transformers", "trl", "peft", "accelerate", "tokenizers", "safetensors", "bitsandbytes"]


def begin_manifest(run: Path, config: Config, data: dict[str, str], resumed: bool) -> dict[str, Any]:
    """The manifest as known before the model loads; a resumed run keeps when and on what it began."""
    before = load_manifest(run) if resumed else {}
    folder = model_folder(config.model)
    manifest = {
        "schema": 1,
        "run": run.name,
        "status": "running",
        "stage": config.train.stage,
        "method": config.method.name,
        "model": {
            "name": config.model.name,
            "revision": config.model.revision,
            "sha256": weights_sha256(folder),
        },
        "data": data,
        "config_sha256": sha256_json(config.model_dump(mode="json")),
        "environment": environment(str(device(config.hardware))),
        "seed": config.seed,
        "started": before.get("started") or now(),
        "seconds": before.get("seconds") or 0.0,
        "resumed": [*before.get("resumed", []), now()] if resumed else [],
        "stopped_early": False,
    }
    save_manifest(run, manifest)
    return manifest


def close_manifest(run: Path, manifest: dict[str, Any]) -> None:
    """Record how the run ended; whatever ended it otherwise than well leaves `failed` or `interrupted`."""
    from kit.train.watch import loss_summary, read_metrics

    golden = run / "golden" / "golden.json"
    if manifest["status"] == "running":
        manifest["status"] = "failed"
    record = json.loads(golden.read_text(encoding="utf-8")) if golden.is_file() else None
    since = datetime.fromisoformat((manifest["resumed"] or [manifest["started"]])[-1])
    manifest["ended"] = now()
    manifest["seconds"] = round(manifest["seconds"] + (datetime.now(UTC) - since).total_seconds(), 2)
    manifest["golden"] = record and {name: record[name] for name in ("step", "metric", "score", "eval_loss")}
    manifest["loss"] = loss_summary(read_metrics(run))
    save_manifest(run, manifest)


def now() -> str:
    """The time in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment(on: str) -> dict[str, Any]:
    """What the run ran on: Python, platform, package versions, device, and the kit's commit if known."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "device": on,
        "kit_version": kit.__version__,
        "kit_commit": _commit(Path(kit.__file__).parents[1]),
    }


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
