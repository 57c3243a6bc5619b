"""Tables to records: CSV and TSV, Parquet, Arrow and Excel workbooks."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from kit.data.opening import SHOWN, File, not_utf8
from kit.data.rows import Record

_DELIMITERS = (",", ";", "\t", "|")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_OPEN_QUOTE = re.compile(r'(?:^|[,;\t|])\s*"')
_LONGEST_HEADER = 100  # lines
_LARGEST_CELL = 64 * 2**20  # characters; Python's own limit of 131,072 is less than a long document
_BATCH = 1024  # rows of a columnar file that are Python objects at once


def read_csv(file: File) -> Iterator[Record]:
    """A header and rows; `,` `;` tab or a bar parts the cells, whichever the header has most of."""
    yield from _separated(file, _DELIMITERS)


def read_tsv(file: File) -> Iterator[Record]:
    """A header and rows, cells parted by tabs."""
    yield from _separated(file, ("\t",))


def _separated(file: File, delimiters: tuple[str, ...]) -> Iterator[Record]:
    csv.field_size_limit(_LARGEST_CELL)
    # Undecodable bytes come through as lone surrogates, so that only their own row is turned away.
    with io.TextIOWrapper(file.open(), "utf-8-sig", "surrogateescape", newline="") as text:
        header_text, header_lines = _csv_header(text, file)
        delimiter = max(delimiters, key=_QUOTED.sub("", header_text).count)
        try:
            header = next(
                csv.reader(io.StringIO(header_text, newline=""), delimiter=delimiter, strict=True), []
            )
        except csv.Error as error:
            raise file.unreadable(
                f"the header is not CSV: {error}", "the first row names the columns"
            ) from error
        columns = _column_names(header, file)
        reader = csv.reader(text, delimiter=delimiter, strict=True)
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


def _csv_header(text: TextIO, file: File) -> tuple[str, int]:
    """The header's text and how many lines it takes: a name in quotes may hold line breaks."""
    header = text.readline()
    lines = 1
    while _OPEN_QUOTE.search(_QUOTED.sub("", header)):
        more = text.readline()
        if not more or lines == _LONGEST_HEADER:
            raise file.unreadable("a quote in the header is never closed", "the first row names the columns")
        header, lines = header + more, lines + 1
    return header, lines


def _column_names(header: list[str], file: File) -> list[str]:
    columns = [re.sub(r"\s*[\r\n]+\s*", " ", cell.strip()) for cell in header]
    if any("\ud800" <= c <= "\udfff" for column in columns for c in column):
        raise file.unreadable("the header is not UTF-8", "save the file as UTF-8")
    # A spreadsheet may leave empty columns without a name at the end.
    twice = sorted({column for column in columns if column and columns.count(column) > 1})
    if twice:
        raise file.unreadable(f"the header names a column twice: {', '.join(twice)}")
    return columns


def _csv_record(line: int, columns: list[str], cells: list[str]) -> Record:
    shown = ",".join(cells)[:SHOWN].encode("utf-8", "replace").decode()
    if len(cells) != len(columns):
        return Record(line, None, f"{len(cells)} cells, but the header names {len(columns)} columns", shown)
    for column, cell in zip(columns, cells, strict=True):
        escaped = next((c for c in cell if "\udc80" <= c <= "\udcff"), None)
        if escaped:
            return Record(line, None, not_utf8(ord(escaped) - 0xDC00, f"in column {column}"), shown)
    return Record(line, {c: cell or None for c, cell in zip(columns, cells, strict=True) if c})


def read_parquet(file: File) -> Iterator[Record]:
    """A Parquet file; the line is the number of the row."""
    from pyarrow import parquet  # type: ignore[import-untyped]

    with _refused(file, "a Parquet file"), parquet.ParquetFile(file.path) as table:
        yield from _batches(table.iter_batches(batch_size=_BATCH))


def read_arrow(file: File) -> Iterator[Record]:
    """An Arrow file, in the file format (also called Feather) or the stream format (as `datasets` writes)."""
    import pyarrow

    with _refused(file, "an Arrow file"), pyarrow.memory_map(str(file.path)) as source:
        if source.read(6) == b"ARROW1":
            table = pyarrow.ipc.open_file(source)
            yield from _batches(table.get_batch(number) for number in range(table.num_record_batches))
        else:
            source.seek(0)
            yield from _batches(pyarrow.ipc.open_stream(source))


@contextmanager
def _refused(file: File, what: str) -> Iterator[None]:
    """Turns what pyarrow raises on a damaged file into the file's error."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, IndexError) as error:
        text = " ".join(str(error).split())[:SHOWN]
        raise file.unreadable(f"not {what} that can be read: {text}") from error


def _batches(batches: Iterator[Any]) -> Iterator[Record]:
    line = 0
    for batch in batches:
        batch.validate(full=True)  # a damaged Arrow file may point outside its own memory
        for start in range(0, batch.num_rows, _BATCH):
            for value in batch.slice(start, _BATCH).to_pylist():
                line += 1
                yield Record(line, value)


def read_xlsx(file: File) -> Iterator[Record]:
    """A sheet of an Excel workbook whose first row names the columns; the line is that of the sheet.

    A formula counts by the value that Excel stored with it.
    """
    from openpyxl import load_workbook  # type: ignore[import-untyped]

    try:
        book = load_workbook(file.path, read_only=True, data_only=True)
        names = book.sheetnames
    except Exception as error:  # whatever a damaged zip or XML makes its parsers raise
        raise _no_workbook(file, error) from error
    try:
        if file.sheet is not None and file.sheet not in names:
            raise file.unreadable(f"has no sheet {file.sheet!r}", f"its sheets are {', '.join(names)}")
        if not book.worksheets:
            raise file.unreadable("has no sheet with cells")
        sheet = book[file.sheet] if file.sheet is not None else book.worksheets[0]
        yield from _sheet(_lines(sheet, file), file)
    finally:
        book.close()


def _lines(sheet: Any, file: File) -> Iterator[tuple[int, list[Any]]]:
    """Line number and cells of each line that has a value."""
    try:
        sheet.reset_dimensions()  # some writers state too small a size, and rows beyond it would be lost
        for number, cells in enumerate(sheet.iter_rows(), start=1):
            if any(cell.value is not None for cell in cells):
                yield number, list(cells)
    except Exception as error:
        raise _no_workbook(file, error) from error


def _sheet(lines: Iterator[tuple[int, list[Any]]], file: File) -> Iterator[Record]:
    _, header = next(lines, (0, []))
    columns = _column_names(["" if cell.value is None else str(cell.value) for cell in header], file)
    if not any(columns):
        raise file.unreadable("the sheet is empty", "remove it from data.sources, or name another `sheet`")
    for line, cells in lines:
        yield _sheet_record(line, columns, cells)


def _sheet_record(line: int, columns: list[str], cells: list[Any]) -> Record:
    shown = ", ".join(str(cell.value) for cell in cells if cell.value is not None)[:SHOWN]
    beyond = [cell for cell in cells[len(columns) :] if cell.value is not None]
    if beyond:
        return Record(line, None, f"cells beyond the {len(columns)} columns that the header names", shown)
    for column, cell in zip(columns, cells, strict=False):
        if cell.data_type == "e":
            return Record(line, None, f"the cell in column {column} is an error, {cell.value}", shown)
    values = [cell.value for cell in cells[: len(columns)]]
    values += [None] * (len(columns) - len(values))
    return Record(line, {c: None if v == "" else v for c, v in zip(columns, values, strict=True) if c})


def _no_workbook(file: File, error: Exception) -> Exception:
    text = " ".join(str(error).split())[:SHOWN] or type(error).__name__
    return file.unreadable(f"not an Excel workbook that can be read: {text}", "save it as .xlsx again")
