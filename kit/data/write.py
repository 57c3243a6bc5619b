"""Writing prepared rows: one Arrow table a split, row by row, however many there are."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kit.config.schema import Config
from kit.data.prepared import MESSAGE_COLUMNS, SAMPLES, json_or_none, packed
from kit.data.rows import Row, as_text
from kit.data.samples import FIELDS
from kit.data.summary import expected_of

_WRITTEN_AT_ONCE = 10_000  # rows,
_LETTERS_AT_ONCE = 50_000_000  # or so much text: Arrow holds 2 GiB in a batch, and books are long


def write_split(rows: Iterable[Row], folder: Path, config: Config) -> None:
    """Write a split so that `datasets.load_from_disk` finds it, also where it has no row."""
    import pyarrow  # type: ignore[import-untyped]
    from datasets import Dataset, Features, List, Value, disable_progress_bars
    from datasets.table import MemoryMappedTable

    text = Value("string")
    features = Features(
        {
            "id": text,
            "messages": List(dict.fromkeys(MESSAGE_COLUMNS, text)),
            "tools": text,
            "expected": text,
            "slices": text,
            "group": text,
            "source": text,
            "line": Value("int64"),
            "rejected": List(dict.fromkeys(MESSAGE_COLUMNS, text)),
            "label": Value("bool"),
            "stages": List(text),
            SAMPLES: List(dict.fromkeys(FIELDS, List(Value("int32")))),
        }
    )
    schema = features.arrow_schema  # keeps its columns when empty
    unfinished = folder.with_name(f".{folder.name}.arrow")
    with pyarrow.OSFile(str(unfinished), "wb") as file, pyarrow.ipc.new_stream(file, schema) as stream:
        for part in _parts(_prepared(row, config) for row in rows):
            stream.write_batch(pyarrow.RecordBatch.from_pylist(part, schema=schema))
    disable_progress_bars()
    # A fingerprint of its own would be another one every time.
    table = Dataset(MemoryMappedTable.from_file(str(unfinished)), fingerprint=folder.name)
    # An empty split without a shard could not be loaded again.
    table.save_to_disk(str(folder), num_shards=1)
    unfinished.unlink()


def _parts(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    letters = 0
    for row in rows:
        part.append(row)
        letters += sum(len(message["content"]) for message in row["messages"])
        if len(part) == _WRITTEN_AT_ONCE or letters >= _LETTERS_AT_ONCE:
            yield part
            part, letters = [], 0
    if part:
        yield part


def _prepared(row: Row, config: Config) -> dict[str, Any]:
    slices = {column: as_text(row.fields.get(column)) for column in config.data.slices}
    return {
        "id": row.id,
        "messages": packed(row.messages),
        "tools": json_or_none(row.tools),
        "expected": json.dumps(expected_of(row, config), ensure_ascii=False, allow_nan=False),
        "slices": json.dumps(slices, ensure_ascii=False),
        "group": row.group,
        "source": row.source,
        "line": row.line,
        "rejected": packed([row.rejected]) if row.rejected else None,
        "label": row.label,
        "stages": row.stages,
        SAMPLES: row.kept if row.split != "test" else None,  # nothing is trained on test
    }
