"""Atomic writes and content hashes: a reader never meets half a file."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) under a temporary name beside `path`, then move it into place."""
    write_lines(path, [text])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines, which bring their own ends, as they come; moved into place like a text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = aside(path)
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.writelines(lines)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON. NaN and infinity are refused: they are not JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends without an error.

    An existing `path` is replaced only then; on an error it stays as it was.
    """
    temporary = aside(path)
    temporary.mkdir(parents=True)
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    replace_folder(temporary, path)


def replace_folder(made: Path, path: Path) -> None:
    """Move the folder `made` to `path`, on the same file system; what was there goes once it is replaced."""
    before = aside(path)
    if path.exists():  # a folder cannot be moved over another: there is a moment without either
        path.replace(before)
    made.replace(path)
    _flush(path.parent)
    shutil.rmtree(before, ignore_errors=True)


def sync(path: Path) -> None:
    """Wait until a file, or all files of a folder, are on the disk and not only on their way there.

    Killing a process loses nothing that it has written; cutting the power does, and may leave a file of the
    right size full of zeros.
    """
    for one in [*path.rglob("*"), path] if path.is_dir() else [path]:
        _flush(one)


def _flush(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def aside(path: Path) -> Path:
    """A hidden name beside `path` that no other process takes, also of another machine; on the same file
    system, so that moving it is atomic.
    """
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """The sha256 of a text's UTF-8 bytes, in hex: that of the file `write_text` makes of it."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_json(value: Any) -> str:
    """The sha256 of `value` as canonical JSON (sorted keys), in hex."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
