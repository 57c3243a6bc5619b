"""Whether a folder's weights are all there, seen from file sizes and headers before anything loads.

Source: https://huggingface.co/docs/safetensors/index#format
"""

import json
from collections.abc import Sequence
from pathlib import Path

from kit.config.errors import ModelError, Problem

INDEX = "model.safetensors.index.json"
PICKLED = {".bin", ".pt", ".pth", ".ckpt"}


def check_weights(folder: Path, name: str) -> None:
    """Refuse a folder whose safetensors weights are missing, incomplete or damaged.

    Args:
        name: what the model is called in the settings.

    Raises:
        ModelError: names every such file.
    """
    there = {path.name: path for path in sorted(folder.glob("*.safetensors")) if path.is_file()}
    problems = [f"{file} is missing" for file in _promised(folder) if file not in there]
    if not there and not problems:
        problems = ["no .safetensors file is there"]
    problems += [problem for path in there.values() if (problem := _damage(path))]
    if problems:
        hint = f"incomplete: delete {all_of(folder)} and fetch it again, or give a whole copy of the model"
        raise ModelError(
            [Problem("model.name", f"weights of {name!r}: {problem}", hint) for problem in problems]
        )


def all_of(folder: Path) -> Path:
    """What to delete so that the model in `folder` is really fetched anew.

    A snapshot in the Hub's cache only links to its files, which would be linked again.
    """
    return folder.parents[1] if folder.parent.name == "snapshots" else folder


def refuse_pickled(files: Sequence[str], name: str) -> None:
    """Refuse a model without safetensors weights if `files`, all it has, hold pickled ones.

    Raises:
        ModelError: names them.
    """
    pickled = sorted(file for file in files if Path(file).suffix in PICKLED)
    if pickled:
        raise ModelError(
            Problem(
                where="model.name",
                message=f"{name!r} has no safetensors weights (has {', '.join(pickled)})",
                hint="pickled weights can run code when read; use a revision or a copy saved as .safetensors",
            )
        )


def _promised(folder: Path) -> list[str]:
    """The weight files that the folder's index names; none without an index."""
    index = folder / INDEX
    if not index.is_file():
        return []
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError):
        return [f"{INDEX} (readable)"]


def _damage(path: Path) -> str | None:
    """What is wrong with a safetensors file's header or length; None if nothing is."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            return f"{path.name} is cut short or damaged: its header does not fit into its {size:,} bytes"
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return f"{path.name} is damaged: its header is no safetensors header"
    wanted = 8 + length + max(ends, default=0)
    if size != wanted:
        return f"{path.name} has {size:,} bytes where its header wants {wanted:,}"
    return None
