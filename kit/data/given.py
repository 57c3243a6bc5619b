"""Settings for files that are named on the command line, instead of a project's sources."""

from collections.abc import Sequence
from pathlib import Path

from kit.config import LoadedConfig
from kit.config.errors import ConfigError, Problem
from kit.config.schema_data import Data, Source
from kit.data.places import find_places


def data_of_files(loaded: LoadedConfig, files: Sequence[Path]) -> Data:
    """The project's data settings with other sources, and only the columns that the command line names.

    Args:
        loaded: the project.
        files: the sources instead of its own; a file of one of those is read as it says.

    Raises:
        ConfigError: the command line names sources too.
    """
    words = {key[1:] for key, origin in loaded.origins.items() if origin.layer == "command line"}
    if ("sources",) in words:
        message = "names what to check, and so do the files"
        raise ConfigError(Problem("command line: data.sources", message, "leave one of them out"))
    data = loaded.config.data
    sources = find_places(loaded.config, loaded.root).sources
    known = {(loaded.root / source.path).resolve(): source for _, source in sources if source.path}
    unnamed = {name: None for name in ("column", "group_by") if ("split", name) not in words}
    return data.model_copy(
        update={
            "sources": [
                _whole(known.get(file.resolve(), Source(path=_from(loaded.root, file)))) for file in files
            ],
            "expected": data.expected if ("expected",) in words else [],
            "slices": data.slices if ("slices",) in words else [],
            "split": data.split.model_copy(update=unnamed),
        }
    )


def _from(root: Path, file: Path) -> str:
    """A file's path as messages name it: from the project, if it lies there."""
    path, root = file.resolve(), root.resolve()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _whole(source: Source) -> Source:
    """A source without its share of a mix: every row of a file that is checked counts."""
    return source.model_copy(update={"weight": None, "max_rows": None})
