"""Opening a data file: its kind by its name, unpacked where it is packed, and refused where it is something
else than its name says.
"""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from kit.config.errors import DataError, Problem
from kit.data.rows import Record

UTF8_BOM = b"\xef\xbb\xbf"
SHOWN = 200  # characters of an unreadable line that are kept
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


def _zstd(path: Path) -> BinaryIO:
    import pyarrow  # type: ignore[import-untyped]

    return cast(BinaryIO, io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")))


_UNPACK: dict[str, Callable[[Path], BinaryIO]] = {
    ".gz": lambda path: cast(BinaryIO, gzip.GzipFile(path)),
    ".bz2": lambda path: cast(BinaryIO, bz2.BZ2File(path)),
    ".xz": lambda path: cast(BinaryIO, lzma.LZMAFile(path)),  # noqa: SIM115
    ".zst": _zstd,
}
PACKINGS = tuple(_UNPACK)


@dataclass(frozen=True)
class File:
    """A file of a source."""

    path: Path
    name: str
    """How messages call it."""
    sheet: str | None = None
    """Of a spreadsheet; None is the first."""

    @property
    def packing(self) -> str:
        """The suffix of its compression, or nothing."""
        suffix = self.path.suffix.lower()
        return suffix if suffix in _UNPACK else ""

    @property
    def suffix(self) -> str:
        """The suffix that tells its kind: `.jsonl` of `a.jsonl` and of `a.jsonl.gz`."""
        return Path(self.path.stem).suffix.lower() if self.packing else self.path.suffix.lower()

    def open(self) -> BinaryIO:
        """Its bytes, unpacked as they are read."""
        return _UNPACK[self.packing](self.path) if self.packing else self.path.open("rb")

    def unreadable(self, message: str, hint: str = "") -> DataError:
        """The error of a file that cannot be read as a whole."""
        return DataError(Problem(self.name, message, hint))


def look_inside(file: File, is_text: bool) -> bool:
    """Refuse a file that is missing, empty or not what its name says; whether a byte-order mark begins it.

    Raises:
        DataError: says what it is instead, and what to do.
    """
    try:
        with file.open() as stream:
            head = stream.read(SHOWN)
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        why = getattr(error, "strerror", None) or error
        raise file.unreadable(f"cannot be opened: {why}", "fetch or export it again") from error
    if not head.removeprefix(UTF8_BOM):
        raise file.unreadable("the file is empty", "leave it out, or export it again")
    if is_text and head.startswith(_UTF16_BOMS):
        raise file.unreadable("the file is UTF-16", "save it as UTF-8")
    if what := _something_else(head.removeprefix(UTF8_BOM), is_text):
        raise file.unreadable(*what)
    return head.startswith(UTF8_BOM)


def _something_else(head: bytes, is_text: bool) -> tuple[str, str] | None:
    """What a file is that only bears the name of a data file, and what to do, by its first bytes."""
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the data itself", "fetch the data: git lfs pull"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "is an HTML page, not data: an error or a login page?", "look at it, and download it again"
    if is_text and head.startswith((b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")):
        return (
            "is packed (gzip, zip or a spreadsheet)",
            "give it the name of its kind, such as .csv.gz or .xlsx",
        )
    if is_text and head.startswith((b"PAR1", b"ARROW1")):
        return "is a Parquet or Arrow file", "give it the name of its kind: .parquet or .arrow"
    return None


def to_the_end(records: Iterator[Record], file: File) -> Iterator[Record]:
    """Pass records on; a file that breaks off while it is read is one error.

    Raises:
        DataError: the packing is damaged or the disk fails; says after which line.
    """
    line = 0
    try:
        for record in records:
            line = record.line
            yield record
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise file.unreadable(
            f"cannot be read to its end, only to line {line}: {error}", "it is damaged; fetch it again"
        ) from error


def not_utf8(byte: int, place: str) -> str:
    """The reason of a byte that is not UTF-8, with the character it would be in Windows' old encoding."""
    guess = bytes([byte]).decode("cp1252", "replace")
    named = "" if guess == "\ufffd" else f" ({guess} in Windows-1252: save the file as UTF-8)"
    return f"not UTF-8: byte 0x{byte:02x} {place}{named}"
