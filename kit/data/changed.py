"""What is otherwise now than when data was prepared, with its old and its new value as far as known."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit import __version__
from kit.config.explain import dotted, shorten
from kit.config.schema import Config
from kit.config.schema_data import Source
from kit.config.show import leaves
from kit.config.yaml_lines import Key
from kit.data.fingerprint import settings, tokenizer_hash
from kit.data.places import find_places, name_of
from kit.files import sha256_file

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MOST_TOLD = 5
_NAMES = {
    "languages": "project.languages",
    "max_length": "model.max_length",
    "stages": "train.stages",
}
"""Where the settings stand that `data.json` calls otherwise."""
_REST = "the project's hooks, casekit's own code or a library that its checks rest on changed"


def what_changed(
    summary: dict[str, Any], config: Config, root: Path, tokenizer: "PreTrainedTokenizerBase"
) -> list[str]:
    """A few words for each thing that is otherwise now than where `data.json` says `summary`, six at most.

    Hooks and code leave no trace in `data.json`; they are named where nothing else is found.
    """
    found = list(_settings(summary, config))
    found += _files(_hashes(summary["sources"]), _sources(config, root))
    found += _files(_hashes(summary.get("benchmarks", [])), _benchmarks(config, root))
    if summary.get("tokenizer") not in (None, tokenizer_hash(tokenizer)):
        found.append(f"the tokenizer, or its chat template (of {config.model.name} now)")
    if summary["kit_version"] != __version__:
        found.append(f"casekit was {summary['kit_version']} and is {__version__}")
    left = len(found) - _MOST_TOLD
    return [*found[:_MOST_TOLD], *([f"{left} more"] if left > 0 else [])] or [_REST]


def _settings(summary: dict[str, Any], config: Config) -> Iterator[str]:
    before, now = (_flat(part) for part in (summary["settings"], settings(config)))
    for key in dict.fromkeys([*before, *now]):
        if before.get(key) != now.get(key):
            then, today = (shorten(side[key]) if key in side else "not there" for side in (before, now))
            yield f"`{dotted((_NAMES.get(str(key[0]), key[0]), *key[1:]))}` was {then} and is {today}"


def _flat(tree: dict[str, Any]) -> dict[Key, Any]:
    """Every value by its path; of the sources each is one, for their fields say little alone."""
    data = dict(tree.get("data", {}))
    sources = data.pop("sources", [])
    flat = dict(leaves({**tree, "data": data}))
    flat.update({("data", "sources", number): _given(one) for number, one in enumerate(sources)})
    return flat


def _given(source: dict[str, Any]) -> dict[str, Any]:
    """What a source says of itself: its fields that are not as they are by default."""
    usual = Source.model_construct().model_dump(mode="json")
    return {name: value for name, value in source.items() if value != usual.get(name)}


def _files(before: dict[str, str | None], now: dict[str, str | None]) -> Iterator[str]:
    for name, sha256 in now.items():
        if before.get(name, sha256) != sha256:
            yield f"{name} has other contents (sha256 {str(before[name])[:12]} then, {str(sha256)[:12]} now)"
    if added := [name for name in now if name not in before]:
        yield f"read now as well: {', '.join(added)}"
    if gone := [name for name in before if name not in now]:
        yield f"read no more: {', '.join(gone)}"


def _hashes(files: list[dict[str, Any]]) -> dict[str, str | None]:
    return {file["name"]: file["sha256"] for file in files}


def _sources(config: Config, root: Path) -> dict[str, str | None]:
    places = [source for _, source in find_places(config, root).sources]
    return {
        name_of(source): None if source.hub else sha256_file(root / str(source.path or source.grammar))
        for source in places
    }


def _benchmarks(config: Config, root: Path) -> dict[str, str | None]:
    return {name: sha256_file(root / name) for name in config.data.benchmarks}
