"""From a file, a Hub dataset or a grammar to records, one after another, each with its line.

A record that cannot be read becomes a `Record` with a problem, so that nothing is lost silently; a
source that cannot be read at all is a DataError.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kit.config.errors import DataError, Problem
from kit.config.schema_data import Source
from kit.data.formats import detect
from kit.data.json_list import list_elements
from kit.data.json_text import fault, not_json, parse, repeated_key
from kit.data.opening import PACKINGS, SHOWN, UTF8_BOM, File, look_inside, not_utf8, to_the_end
from kit.data.rows import Record
from kit.data.tables import read_arrow, read_csv, read_parquet, read_tsv, read_xlsx


@dataclass(frozen=True)
class Opened:
    """A source that can be read: what it is, and its records in order."""

    kind: str
    """Such as `CSV`, or `JSON Lines, .gz`."""
    encoding: str | None
    """Of a text file."""
    records: Iterator[Record]


def open_file(file: File) -> Opened:
    """The records of a file of one of the `KINDS`, in order.

    Raises:
        DataError: the file is missing, empty, of another kind, or broken as a whole; also while its
            records are read.
    """
    kind = KINDS.get(file.suffix)
    if kind is None or (file.packing and not kind.is_text):
        raise _not_read(file)
    has_mark = look_inside(file, kind.is_text)
    encoding = "UTF-8 with a byte-order mark" if has_mark else "UTF-8"
    return Opened(
        kind=f"{kind.label}, {file.packing}" if file.packing else kind.label,
        encoding=encoding if kind.is_text else None,
        records=to_the_end(kind.read(file), file),
    )


def _not_read(file: File) -> DataError:
    suffix = file.path.suffix.lower()
    hint = f"expected one of {', '.join(KINDS)}; text files may be packed ({', '.join(PACKINGS)})"
    if suffix in (".zip", ".tar", ".tgz", ".7z", ".rar"):
        hint = "unpack it first: an archive may hold many files"
    elif suffix == ".xls":
        hint = "save it as .xlsx"
    elif file.packing and file.suffix in KINDS:
        hint = f"unpack it first: a {file.suffix} file is compressed in itself"
    named = f"{file.suffix}{file.packing}" if file.packing else suffix or "(none)"
    return file.unreadable(f"files of type {named} are not read", hint)


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
        raise DataError(
            Problem(
                f"hub:{source.hub}",
                f"could not fetch the dataset {source.hub!r}{revision} from the Hugging Face Hub: {error}",
                "check the name and the network; offline, download it once and give its file as `path`",
            )
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


def _jsonl(file: File) -> Iterator[Record]:
    with file.open() as stream:
        for line, raw in enumerate(stream, start=1):
            text = raw.removeprefix(UTF8_BOM) if line == 1 else raw
            if text.strip():
                yield _json_record(line, text)


def _json_record(line: int, raw: bytes) -> Record:
    shown = raw[:SHOWN].decode("utf-8", "replace").rstrip()
    try:
        value = parse(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        place = f"at position {error.start + 1} of the line"
        return Record(line, None, not_utf8(raw[error.start], place), shown)
    except json.JSONDecodeError as error:
        return Record(line, None, not_json(error), shown)
    except ValueError as error:
        return Record(line, None, f"not usable: {error}", shown)
    return _as_record(line, value, shown)


def _as_record(line: int, value: Any, shown: str) -> Record:
    if found := fault(value):
        return Record(line, None, f"not usable: {found}", shown)
    if isinstance(value, dict):
        return Record(line, value)
    twice = ", itself JSON: exported twice?" if isinstance(value, str) and value[:1] in ("{", "[") else ""
    return Record(line, None, f"expected a JSON object, found {_kind(value)}{twice}", shown)


def _json(file: File) -> Iterator[Record]:
    """A list of objects, or, as the Hub has it, JSON Lines, one record after another; or one object, which
    may hold such a list, read as a whole.
    """
    if _first_letter(file) == b"[":
        values: Iterable[Any] = list_elements(file)
    elif _is_json_lines(file):
        yield from _jsonl(file)
        return
    else:
        values = _records_of(_only_value(file), file)
    for row, item in enumerate(values, start=1):
        yield _as_record(row, item, str(item)[:SHOWN])


def _first_letter(file: File) -> bytes:
    with file.open() as stream:
        text = (line.removeprefix(UTF8_BOM).lstrip() for line in iter(partial(stream.readline, SHOWN), b""))
        return next(filter(None, text), b"")[:1]


def _is_json_lines(file: File) -> bool:
    """Whether a line is a value by itself and others follow."""
    with file.open() as stream:
        lines = (line for line in stream if line.removeprefix(UTF8_BOM).strip())
        try:
            parse(next(lines, b"").decode("utf-8-sig"))
        except ValueError:
            return False
        return next(lines, None) is not None


def _only_value(file: File) -> Any:
    try:
        return parse(_whole(file).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise file.unreadable(
            not_utf8(error.object[error.start], f"at byte {error.start + 1}"), "save it as UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        raise file.unreadable(f"line {error.lineno}: {not_json(error)}") from error
    except ValueError as error:
        raise file.unreadable(f"not usable: {error}") from error


def _records_of(value: Any, file: File) -> list[Any]:
    if not isinstance(value, dict):
        raise file.unreadable(f"expected a list of objects, found {_kind(value)}")
    lists = {key: item for key, item in value.items() if isinstance(item, list)}
    (records,) = lists.values() if len(lists) == 1 else ([],)
    if len(lists) != 1 or _is_record(value, records):
        return [value]
    if found := repeated_key(value):
        raise file.unreadable(found, "give each list a file of its own")
    return list(records)


def _whole(file: File) -> bytes:
    with file.open() as stream:
        return stream.read()


def _is_record(value: dict[str, Any], items: list[Any]) -> bool:
    """Whether an object is itself a record, and the one list in it a part of it, such as its turns."""
    first = items[0] if items and isinstance(items[0], dict) else {}
    if detect(first):
        return False
    return detect(value) is not None or {"role", "content"} <= set(first) or {"from", "value"} <= set(first)


def _text(file: File) -> Iterator[Record]:
    """Plain text: blank lines part the documents; the line is a document's first."""
    with file.open() as stream:
        first = 0
        lines: list[bytes] = []
        for number, raw in enumerate(stream, start=1):
            text = raw.removeprefix(UTF8_BOM) if number == 1 else raw
            if text.strip():
                first = first if lines else number
                lines.append(text)
            elif lines:
                yield _document(first, lines, file)
                lines = []
        if lines:
            yield _document(first, lines, file)


def _document(first: int, lines: list[bytes], file: File) -> Record:
    for number, raw in enumerate(lines, start=first):
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            shown = raw[:SHOWN].decode("utf-8", "replace").rstrip()
            return Record(first, None, not_utf8(raw[error.start], f"in line {number}"), shown)
    return Record(first, {"text": b"".join(lines).decode(), "file": file.name})


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    label: str
    read: Callable[[File], Iterator[Record]]
    is_text: bool = True


_JSON_LINES = Kind("JSON Lines", _jsonl)
_ARROW = Kind("Arrow", read_arrow, is_text=False)
_PLAIN = Kind("plain text", _text)
KINDS = {
    ".jsonl": _JSON_LINES,
    ".ndjson": _JSON_LINES,
    ".json": Kind("JSON", _json),
    ".csv": Kind("CSV", read_csv),
    ".tsv": Kind("TSV", read_tsv),
    ".parquet": Kind("Parquet", read_parquet, is_text=False),
    ".arrow": _ARROW,
    ".feather": _ARROW,
    ".xlsx": Kind("Excel", read_xlsx, is_text=False),
    ".txt": _PLAIN,
    ".md": _PLAIN,
}
"""A file's last suffix, but for that of its compression -> how it is read."""

TEXT_SUFFIXES = (".txt", ".md")


def _kind(value: Any) -> str:
    """A value's type in the words of JSON."""
    names = {list: "a list", str: "a text", bool: "true or false", type(None): "null", dict: "an object"}
    return names.get(type(value), "a number")
