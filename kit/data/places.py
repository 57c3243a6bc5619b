"""Which files a source's path names: one file, those of a folder, or those that a pattern fits."""

import glob
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kit.config.errors import DataError, Problem
from kit.config.schema import Config
from kit.config.schema_data import Source
from kit.config.schema_train import Stage
from kit.data.opening import File
from kit.data.records import KINDS, TEXT_SUFFIXES
from kit.data.stages import read_for


@dataclass(frozen=True)
class Places:
    """What the sources of the settings stand for."""

    sources: list[tuple[int, Source]] = field(default_factory=list)
    """Every source once for each of its files, in the order of their names, with its index in the settings;
    a Hub dataset or grammar as it is."""
    skipped: list[str] = field(default_factory=list)
    """Files of folders that are of no kind that is read."""
    problems: list[Problem] = field(default_factory=list)
    """Sources whose file is not there, and files that are named twice."""


def find_places(config: Config, root: Path) -> Places:
    """All files of all sources.

    In a folder, and in the folders below, every file of a known kind counts; plain text only where
    documents can be trained on. Hidden files and folders do not count. A pattern (`data/raw/*.jsonl`,
    `**` for folders below) names its files outright.
    """
    places = Places()
    for part, source in enumerate(config.data.sources):
        try:
            names, skipped = _files(source, root, read_for(source, config).stages)
        except DataError as error:
            places.problems.extend(error.problems)
            continue
        one_each = [source.model_copy(update={"path": name}) for name in names]
        places.sources.extend((part, one) for one in one_each or [source])
        places.skipped.extend(skipped)
    times = Counter(name_of(source) for _, source in places.sources)
    places.problems.extend(
        Problem(name, f"is named {count} times by data.sources", "name it once: its rows would be duplicates")
        for name, count in times.items()
        if count > 1
    )
    return places


def name_of(source: Source) -> str:
    """How messages call a source; a `path` must be that of one file."""
    if source.hub:
        return f"hub:{source.hub}@{source.revision}" if source.revision else f"hub:{source.hub}"
    if source.grammar:
        return source.grammar
    return f"{source.path}#{source.sheet}" if source.sheet else str(source.path)


def _files(source: Source, root: Path, stages: Sequence[Stage]) -> tuple[list[str], list[str]]:
    """The files of a folder or pattern, and what a folder holds besides; none of anything else.

    Raises:
        DataError: no file is there.
    """
    place = source.path or source.grammar
    if place is None or (root / place).is_file():
        return [], []
    is_folder = (root / place).is_dir()
    if source.grammar or not (is_folder or glob.has_magic(place)):
        raise _missing(place, "is a folder, expected a file" if is_folder else "no such file", root)
    if not is_folder:
        # Path.glob takes no absolute pattern, and finds hidden files.
        found = glob.glob(place, root_dir=root, recursive=True)  # noqa: PTH207
        names = sorted({Path(name).as_posix() for name in found if (root / name).is_file()})
        if not names:
            raise _missing(place, "no file fits this pattern", root)
        return names, []
    suffixes = [suffix for suffix in KINDS if "pretrain" in stages or suffix not in TEXT_SUFFIXES]
    known: list[str] = []
    skipped: list[str] = []
    for name in sorted(_below(Path(place), root)):
        (known if File(Path(name), name).suffix in suffixes else skipped).append(name)
    if not known:
        raise _missing(place, f"no file in it is one of {', '.join(suffixes)}", root)
    return known, skipped


def _below(folder: Path, root: Path) -> list[str]:
    """The files below a folder but hidden ones, as the settings would name them."""
    paths = (path.relative_to(root / folder) for path in (root / folder).rglob("*") if path.is_file())
    return [
        (folder / path).as_posix() for path in paths if not any(part.startswith(".") for part in path.parts)
    ]


def _missing(place: str, what: str, root: Path) -> DataError:
    return DataError(
        Problem(
            where=place,
            message=f"{what} under {root.resolve()}",
            hint="mend the path, in data.sources or as it was given",
        )
    )
