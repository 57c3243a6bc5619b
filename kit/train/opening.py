"""A run's folder is made, or taken up again, by one process at a time.

A new one appears with its settings and its manifest in one move, so that whatever ends it, it can be resumed.
Whoever works on a run holds a lock of the operating system on it, which ends with the process, however that
ends.
"""

import errno
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from kit.config.errors import ConfigError, Problem
from kit.config.layers import LoadedConfig
from kit.config.schema import Config
from kit.files import aside, sync, write_json, write_text
from kit.train.checkpoints import step_of, usable_checkpoint
from kit.train.manifest import now
from kit.train.processes import is_main, same_for_all
from kit.train.resume import refuse_finished
from kit.train.runs import load_manifest, resolved_yaml, save_manifest

Manifest = dict[str, Any]
Begin = Callable[[str, Mapping[str, Any], int | None], Manifest]
"""A run's name, its manifest until now (empty if it is new), the step it goes on from -> its manifest."""

LOCK = "lock"
"""In a run's folder: locked by the process that works on it, which is named in it."""
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}
"""What file systems say that know no locks."""
SECONDS_TO_MAKE = 3600
"""A folder that was being made so long ago was left by a process that was killed."""


@contextmanager
def opened(
    root: Path, resume: Path | None, config: Config, given: LoadedConfig | None, begin: Begin
) -> Iterator[tuple[Path, Path | None, Manifest]]:
    """The run, the checkpoint it goes on from, and its manifest with a session added, for this process alone.

    Of several training processes the main one does all this.

    Args:
        resume: the run to take up; None makes a new one in `runs/` of `root`.

    Raises:
        ConfigError: another process works on it, or has finished it meanwhile.
    """
    with ExitStack() as locks:
        if resume is None:
            run, manifest = same_for_all(lambda: new_run(root, config, given, begin))
            if is_main():
                locks.enter_context(held(run))
            yield run, None, manifest
            return
        if is_main():
            locks.enter_context(held(resume))
        checkpoint = same_for_all(lambda: usable_checkpoint(resume, tell))
        refuse_finished(resume)
        before = load_manifest(resume)
        manifest = begin(resume.name, before, step_of(checkpoint))
        save_manifest(resume, manifest)
        yield resume, checkpoint, manifest


def new_run(root: Path, config: Config, given: LoadedConfig | None, begin: Begin) -> tuple[Path, Manifest]:
    """Make `runs/<id>/` with the resolved settings and the manifest in it. Ids are UTC, stage and method.

    Args:
        given: has the layer that each setting came from, to be written beside it, and the words of the
            command line, with which `--resume` goes on.
    """
    runs = root / "runs"
    started = unused_second(runs)
    stem = f"{started}-{config.train.stage}-{config.method.name}"
    sweep(runs)
    made = aside(runs / stem)
    try:
        write_text(made / "config.yaml", resolved_yaml(config, given.origin if given else None))
        for number in range(1, 1000):
            run = runs / (stem if number == 1 else f"{stem}-{number}")
            manifest = {**begin(run.name, {}, None), "words": list(given.overrides if given else ())}
            write_json(made / "manifest.json", manifest)
            sync(made)
            if moved(made, run):
                return run, manifest
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    raise AssertionError(f"a thousand runs began at {started}")


def unused_second(runs: Path) -> str:
    """The time, once a second has come in which no other run began: ids sort by time, which is how the newest
    is found. Of processes that begin at once, those of one stage and method are numbered.
    """
    while True:
        started = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        if not any(runs.glob(f"{started}-*")):
            return started
        time.sleep(0.05)


def moved(made: Path, run: Path) -> bool:
    """Move a folder into place; False where another run began within this second and has the name."""
    if run.exists():
        return False
    try:
        made.rename(run)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def sweep(runs: Path) -> None:
    """Take away what processes left that were killed while they made a run's folder."""
    for left in runs.glob(".[0-9]*"):
        with suppress(FileNotFoundError):  # moved into place meanwhile, by whoever made it
            if time.time() - left.stat().st_mtime > SECONDS_TO_MAKE:
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def held(run: Path, what: str = "is being trained") -> Iterator[None]:
    """Keep other processes from a run, or a search, within the block.

    Args:
        what: they are told that is done by this one.

    Raises:
        ConfigError: one of them works on it; which one.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(run / LOCK, fallback_to_soft=False, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ConfigError(in_use(run, what)) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        tell(Problem(str(run), "lies where nothing can be locked", "see that no two processes resume it"))
        yield
        return
    try:
        here = {"process": os.getpid(), "host": socket.gethostname(), "since": now()}
        (run / LOCK).write_text(json.dumps(here), encoding="utf-8")
        yield
    finally:
        lock.release()


def in_use(run: Path, what: str) -> Problem:
    """That another process works on a run: which, where, since when, as far as it can be read."""
    who, stop = "another process", "stop it"
    try:
        holder = json.loads((run / LOCK).read_text(encoding="utf-8"))
        here = holder["host"] == socket.gethostname()
        where = "on this machine" if here else f"on {holder['host']}"
        who = f"process {holder['process']} {where}, since {holder['since']}"
        stop = f"stop it {'' if here else 'there '}(`kill {holder['process']}`; it saves first)"
    except (OSError, ValueError, KeyError, TypeError):  # Windows lets nobody read what is locked
        pass
    hint = f"wait until it is done, or {stop} and resume then"
    return Problem(str(run), f"{what} by {who}", hint)


def tell(problem: Problem) -> None:
    """Warn of what does not stop the run."""
    console = Console(stderr=True)
    console.print("warning", style="yellow", end=" ")
    console.print(str(problem), markup=False, highlight=False, soft_wrap=True)
