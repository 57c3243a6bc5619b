"""One hash over everything that changes prepared data: same fingerprint, same files, no work."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit import __version__
from kit.config.errors import DataError
from kit.config.schema import Config
from kit.config.schema_data import Source
from kit.data.benchmarks import missing_benchmarks
from kit.data.names import identity, name_problems
from kit.data.places import find_places
from kit.files import sha256_file, sha256_json
from kit.hooks import Hooks

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LIBRARIES = ("ftfy", "phonenumbers", "py3langid", "python-stdnum", "rensa")
"""Those whose version may change what a check finds."""


def fingerprint(config: Config, root: Path, hooks: Hooks, tokenizer: "PreTrainedTokenizerBase") -> str:
    """16 hex digits over the data's bytes, the grammar, the benchmarks, the hooks, the tokenizer with its
    chat template, the settings that data preparation reads, the libraries that checks rest on, and the kit
    itself.

    A Hub dataset counts by its id and revision: without a pinned revision a change upstream is
    not noticed.

    Raises:
        DataError: a source's or benchmark's file is missing, or one is named twice, or what finds names of
            people is not installed; all such problems at once.
    """
    places = find_places(config, root)
    missing = [*missing_benchmarks(config.data.benchmarks, root), *name_problems(config, root)]
    if problems := [*places.problems, *missing]:
        raise DataError(problems)
    parts = {
        "sources": [_source(source, root) for _, source in places.sources],
        "benchmarks": [sha256_file(root / path) for path in config.data.benchmarks],
        "hooks": [sha256_file(path) for path in hooks.files],
        "tokenizer": tokenizer_hash(tokenizer),
        "settings": settings(config),
        "kit": [__version__, *map(sha256_file, sorted(Path(__file__).parent.glob("*.py")))],
        "libraries": {name: version(name) for name in LIBRARIES},
        "names": identity(config, root),
    }
    return sha256_json(parts)[:16]


def settings(config: Config) -> dict[str, Any]:
    """The settings that decide what prepared data looks like."""
    return {
        "data": config.data.model_dump(mode="json", exclude={"num_proc"}),
        "languages": config.languages,
        "max_length": config.model.max_length,
        "seed": config.seed,
        "stages": config.train.names,
    }


def _source(source: Source, root: Path) -> list[str]:
    if source.hub is not None:
        return ["hub", source.hub, source.revision or ""]
    place = source.path or source.grammar or ""
    return ["file", place, sha256_file(root / place)]


def tokenizer_hash(tokenizer: "PreTrainedTokenizerBase") -> str:
    """The sha256 of vocabulary, merges, normalisation, control tokens, chat template and stop tokens."""
    from kit.data.chat_template import named_stop_ids

    backend = getattr(tokenizer, "backend_tokenizer", None)
    words = backend.to_str() if backend is not None else sorted(tokenizer.get_vocab().items())
    return sha256_json(
        [words, tokenizer.chat_template, tokenizer.special_tokens_map, named_stop_ids(tokenizer)]
    )
