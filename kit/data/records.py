"""From a file, a Hub dataset or a grammar to records, one after another, each with its line.

A record that cannot be read becomes a `Record` with a problem, so that nothing is lost silently; a
source that cannot be read at all is a DataError.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from kit.config.errors import DataError, Problem
from kit.config.schema import Source
from kit.data.formats import detect
from kit.data.json_text import fault, parse, repeated_key
from kit.data.rows import Record

_SHOWN = 200  # characters of an unreadable line that are kept
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
_DELIMITERS = (",", ";", "\t", "|")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_OPEN_QUOTE = re.compile(r'(?:^|[,;\t|])\s*"')
_LONGEST_HEADER = 100  # lines


def open_file(path: Path, name: str) -> Iterator[Record]:
    """The records of a .jsonl, .json, .csv or .parquet file, in order.

    Args:
        path: the file.
        name: how errors call it.

    Raises:
        DataError: the file is missing, empty, of another kind, or broken as a whole.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise _unreadable(
            name,
            f"files of type {path.suffix or '(none)'} are not read",
            "unpack it first" if path.suffix.lower() in _PACKED else f"expected one of {', '.join(_READERS)}",
        )
    try:
        with path.open("rb") as file:
            head = file.read(_SHOWN)
    except OSError as error:
        raise _unreadable(name, f"cannot be opened: {error.strerror}") from error
    if not head.removeprefix(_UTF8_BOM):
        raise _unreadable(name, "the file is empty", "remove it from data.sources, or export it again")
    if head.startswith(_UTF16_BOMS) and path.suffix.lower() != ".parquet":
        raise _unreadable(name, "the file is UTF-16", "save it as UTF-8")
    if what := _something_else(head.removeprefix(_UTF8_BOM)):
        raise _unreadable(name, *what)
    return reader(path, name)


def _something_else(head: bytes) -> tuple[str, str] | None:
    """What a file is that only bears the name of a data file, and what to do, by its first bytes."""
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the data itself", "fetch the data: git lfs pull"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "is an HTML page, not data: an error or a login page?", "look at it, and download it again"
    if head.startswith((b"\x1f\x8b", b"PK\x03\x04")):
        return "is packed (gzip, zip or a spreadsheet)", "unpack it, or export it as CSV, under this name"
    return None


def open_hub(source: Source) -> Iterator[Record]:
    """The records of a Hub dataset, `owner/name` (every split, named in a `split` column) or
    `owner/name:split`.

    Raises:
        DataError: it cannot be fetched; the message says what was asked for.
    """
    from datasets import DatasetDict, load_dataset
    from datasets.exceptions import DatasetsError

    dataset_id, _, split = str(source.hub).partition(":")
    try:
        loaded = load_dataset(dataset_id, split=split or None, revision=source.revision)
    except (DatasetsError, OSError, ValueError) as error:
        revision = f" at revision {source.revision}" if source.revision else ""
        raise _unreadable(
            f"hub:{source.hub}",
            f"could not fetch the dataset {source.hub!r}{revision} from the Hugging Face Hub: {error}",
            "check the name and the network; offline, download it once and give its file as `path`",
        ) from error
    parts = loaded.items() if isinstance(loaded, DatasetDict) else [(None, loaded)]
    return _hub_records(parts)


def _hub_records(parts: Any) -> Iterator[Record]:
    line = 0
    for split, table in parts:
        for value in table:
            line += 1
            yield Record(line, {"split": split, **value} if split else dict(value))


def open_grammar(path: Path, source: Source, seed: int, languages: list[str]) -> Iterator[Record]:
    """Synthetic dialogues from a phrase grammar; the line is the number of the row.

    Raises:
        DataError: the grammar has problems, or too few combinations for `source.dialogues`.
    """
    from kit.data.grammar_load import load_grammar
    from kit.data.synth import synthesize

    grammar = load_grammar(path)
    rows = synthesize(grammar, source.dialogues, seed, languages=languages)
    return (Record(line, row) for line, row in enumerate(rows, start=1))


def _jsonl(path: Path, name: str) -> Iterator[Record]:
    with path.open("rb") as file:
        for line, raw in enumerate(file, start=1):
            text = raw.removeprefix(_UTF8_BOM) if line == 1 else raw
            if text.strip():
                yield _json_record(line, text)


def _json_record(line: int, raw: bytes) -> Record:
    shown = raw[:_SHOWN].decode("utf-8", "replace").rstrip()
    try:
        value = parse(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        return Record(
            line, None, f"not UTF-8: byte 0x{byte:02x} at position {error.start + 1} of the line", shown
        )
    except json.JSONDecodeError as error:
        return Record(line, None, f"not JSON: {error.msg} at column {error.colno}", shown)
    except ValueError as error:
        return Record(line, None, f"not usable: {error}", shown)
    return _as_record(line, value, shown)


def _as_record(line: int, value: Any, shown: str) -> Record:
    if found := fault(value):
        return Record(line, None, f"not usable: {found}", shown)
    if isinstance(value, dict):
        return Record(line, value)
    return Record(line, None, f"expected a JSON object, found {_kind(value)}", shown)


def _json(path: Path, name: str) -> Iterator[Record]:
    """A list of objects, an object that holds one such list, or, as the Hub has it, JSON Lines."""
    try:
        value = parse(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _unreadable(
            name, f"not UTF-8: {error.reason} at byte {error.start + 1}", "save it as UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            yield from _jsonl(path, name)
            return
        raise _unreadable(
            name, f"line {error.lineno}: not JSON: {error.msg} at column {error.colno}"
        ) from error
    except ValueError as error:
        raise _unreadable(name, f"not usable: {error}") from error
    if isinstance(value, dict):
        lists = {key: item for key, item in value.items() if isinstance(item, list)}
        (records,) = lists.values() if len(lists) == 1 else ([],)
        is_wrapper = len(lists) == 1 and not _is_record(value, records)
        if is_wrapper and (found := repeated_key(value)):
            raise _unreadable(name, found, "give each list a file of its own")
        value = records if is_wrapper else [value]
    if not isinstance(value, list):
        raise _unreadable(name, f"expected a list of objects, found {_kind(value)}")
    for row, item in enumerate(value, start=1):
        yield _as_record(row, item, str(item)[:_SHOWN])


def _is_record(value: dict[str, Any], items: list[Any]) -> bool:
    """Whether an object is itself a record, and the one list in it a part of it, such as its turns."""
    first = items[0] if items and isinstance(items[0], dict) else {}
    if detect(first):
        return False
    return detect(value) is not None or {"role", "content"} <= set(first) or {"from", "value"} <= set(first)


def _csv(path: Path, name: str) -> Iterator[Record]:
    # Undecodable bytes come through as lone surrogates, so that only their own row is turned away.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        header_text, header_lines = _csv_header(file, name)
        delimiter = max(_DELIMITERS, key=_QUOTED.sub("", header_text).count)
        header = next(csv.reader(io.StringIO(header_text, newline=""), delimiter=delimiter), [])
        columns = [re.sub(r"\s*[\r\n]+\s*", " ", cell.strip()) for cell in header]
        # A spreadsheet may leave empty columns without a name at the end.
        twice = sorted({column for column in columns if column and columns.count(column) > 1})
        if twice:
            raise _unreadable(name, f"the header names a column twice: {', '.join(twice)}")
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        while True:
            line = reader.line_num + header_lines + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                # A quote that is never closed takes the rest of the file with it: say how much.
                yield Record(
                    line, None, f"not CSV: {error} (lines {line} to {reader.line_num + header_lines})"
                )
                continue
            if cells:
                yield _csv_record(line, columns, cells)


def _csv_header(file: TextIO, name: str) -> tuple[str, int]:
    """The header's text and how many lines it takes: a name in quotes may hold line breaks."""
    text = file.readline()
    lines = 1
    while _OPEN_QUOTE.search(_QUOTED.sub("", text)):
        more = file.readline()
        if not more or lines == _LONGEST_HEADER:
            raise _unreadable(
                name, "a quote in the header is never closed", "the first row names the columns"
            )
        text, lines = text + more, lines + 1
    return text, lines


def _csv_record(line: int, columns: list[str], cells: list[str]) -> Record:
    shown = ",".join(cells)[:_SHOWN].encode("utf-8", "replace").decode()
    if len(cells) != len(columns):
        return Record(line, None, f"{len(cells)} cells, but the header names {len(columns)} columns", shown)
    for column, cell in zip(columns, cells, strict=True):
        escaped = next((c for c in cell if "\udc80" <= c <= "\udcff"), None)
        if escaped:
            return Record(
                line, None, f"not UTF-8: byte 0x{ord(escaped) - 0xDC00:02x} in column {column}", shown
            )
    return Record(line, {c: cell or None for c, cell in zip(columns, cells, strict=True) if c})


def _parquet(path: Path, name: str) -> Iterator[Record]:
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    line = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for value in batch.to_pylist():
                    line += 1
                    yield Record(line, value)
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(name, f"not a Parquet file that can be read: {error}") from error


_READERS: dict[str, Callable[[Path, str], Iterator[Record]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}


def _kind(value: Any) -> str:
    """A value's type in the words of JSON."""
    names = {list: "a list", str: "a text", bool: "true or false", type(None): "null", dict: "an object"}
    return names.get(type(value), "a number")


def _unreadable(name: str, message: str, hint: str = "") -> DataError:
    return DataError(Problem(name, message, hint))
