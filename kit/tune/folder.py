"""Where a search lies, and what it is: the settings and data that make it this one, and the words of the
command line that it was given last, with which `casekit tune --resume` goes on.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit.config.errors import ConfigError, Problem
from kit.config.layers import LoadedConfig
from kit.files import sha256_json, write_json
from kit.hooks import Hooks
from kit.train.manifest import golden_choice, now
from kit.train.resume import changed_since, differences, later_last

RECORD = "search.json"
"""In a search's folder: `words`, `at` (when they were given) and `facts` (see `search_facts`)."""
BUDGET = ("trials", "max_hours")
"""Settings of `tune` that another command may change, and it is the same search."""


def search_facts(loaded: LoadedConfig, prepared: Path, hooks: Hooks) -> dict[str, Any]:
    """What makes a search this one: the data, every setting that shapes a trial, of `tune` all but the
    budget, and what the score depends on besides: languages, files that a metric names, the project's code.
    """
    config = loaded.config
    settings = config.model_dump(mode="json")
    shaping = {name: settings[name] for name in ("seed", "model", "method", "train", "evaluate")}
    searched = {name: value for name, value in settings["tune"].items() if name not in BUDGET}
    scored = {}
    if config.train.stage != "reward":  # which is asked nothing
        scored = golden_choice(config, loaded.root, hooks)
    return {"data fingerprint": prepared.name, **shaping, "tune": searched, "golden choice": scored}


def search_folder(loaded: LoadedConfig, prepared: Path, hooks: Hooks, going_on: Path | None = None) -> Path:
    """`tuning/<id>`: the same search, whatever its budget, is the same folder.

    Args:
        going_on: the search that it has to be.

    Raises:
        ConfigError: by these settings it would be another; every difference is named.
    """
    facts = search_facts(loaded, prepared, hooks)
    folder = loaded.root / "tuning" / sha256_json(facts)[:12]
    if going_on is not None and folder.name != going_on.name:
        found = differences(_record(going_on)["facts"], facts, list(facts))
        hint = "restore these (a search goes on with the words it was given last), or leave out --resume"
        advice = Problem(str(going_on), "cannot go on as it began", hint)
        raise ConfigError([*changed_since("the search began", found, loaded), advice])
    return folder


def remember(folder: Path, loaded: LoadedConfig, prepared: Path, hooks: Hooks) -> None:
    """Leave in the search's folder what it is, and what it was given now."""
    facts = search_facts(loaded, prepared, hooks)
    write_json(folder / RECORD, {"at": now(), "words": list(loaded.overrides), "facts": facts})


def newest_search(root: Path) -> Path:
    """The search that a command was given for last.

    Raises:
        ConfigError: there is none.
    """
    found = [path.parent for path in (root / "tuning").glob(f"*/{RECORD}")]
    if not found:
        message = "there is no search to go on with"
        raise ConfigError(Problem(str(root / "tuning"), message, "begin one with `casekit tune`"))
    return max(found, key=lambda folder: (_record(folder)["at"], folder.name))


def words_to_go_on(folder: Path, words: Sequence[str]) -> list[str]:
    """The words that a search was given last, and these after them, which so go before."""
    return later_last([*_record(folder)["words"], *words])


def _record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return found
