"""A source's rows, without the checks."""

from collections.abc import Iterator
from pathlib import Path

from kit.config.schema import Config
from kit.config.schema_data import Source
from kit.data.read import open_source
from kit.data.rows import Rejection, Row, SourceInfo
from kit.hooks import Hooks


def read_source(
    source: Source, config: Config, root: Path, hooks: Hooks
) -> tuple[SourceInfo, Iterator[Row | Rejection]]:
    """What the source is, and a row or a rejection for every record."""
    info, reader, records = open_source(source, 0, config, root, hooks)
    return info, (reader.row(record, config, hooks) for record in records)
