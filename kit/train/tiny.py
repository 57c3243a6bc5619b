"""Builds tiny: the kit's own `pretrain` stage on synthetic dialogues, once a machine, then cached.

The corpus holds the training dialogues of every recipe with a general model's answers: fluent, copying
names and numbers from the question, and faulty where the grammar says that a general model errs. The
same definition, library versions and kind of processor give the same weights.
"""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from kit.config.errors import DataError, ModelError, Problem, Terminated
from kit.config.schema import Config
from kit.config.schema_train import Train
from kit.files import new_folder, write_json
from kit.models.tiny import (
    DIALOGUES,
    SEED,
    TRAINING,
    grammar_files,
    new_model,
    new_tokenizer,
    system_prompt,
    tiny_folder,
)
from kit.train.processes import world_size
from kit.train.waiting import wait_for, workplace_of

VALIDATION_ROWS = 64
WITH_SYSTEM_PROMPT = 0.5
"""Share of dialogues that begin with their recipe's system prompt, so that tiny answers with and without."""

THREADS = 2
"""So that laptops and servers make the same tiny."""

Messages = list[dict[str, str]]


def build_tiny() -> Path:
    """The cached tiny of this version, built first if it is not there: minutes, and it says how many.

    Two processes do not build it twice: the second waits for the first, and says how far that one is.

    Raises:
        ModelError: no recipe's grammar can be found to make the corpus from; or this is one of several
            training processes, each of which trains its part only.
    """
    folder = tiny_folder()
    if folder.is_dir():
        return folder
    if world_size() > 1:
        message = f"tiny is not built yet, and not by one of {world_size()} training processes"
        raise ModelError(Problem("model.name", message, "build it first: `casekit data prepare`"))
    from filelock import FileLock, Timeout

    console = Console(stderr=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        wait_for(lock, folder, console)
    try:
        if not folder.is_dir():
            console.print("building tiny, the embedded base model: once a machine")
            build_into(folder, corpus(grammar_files(), DIALOGUES, SEED), TRAINING, SEED)
    except (KeyboardInterrupt, Terminated):
        console.print("tiny is not built: the next command that needs it begins anew")
        raise
    finally:
        lock.release()
    return folder


def corpus(grammars: list[Path], dialogues: int, seed: int) -> list[Messages]:
    """About `dialogues` training dialogues with a general model's answers, in equal parts from `grammars`.

    Rows of the validation and test splits are left out, so tiny has met none of their names.

    Raises:
        ModelError: there is no grammar.
    """
    from kit.data.grammar_load import load_grammar
    from kit.data.synth import synthesize

    if not grammars:
        raise ModelError(
            Problem(
                where="model.name",
                message="tiny cannot be built: no recipe with a phrase grammar was found",
                hint="reinstall casekit, or run it from a complete checkout",
            )
        )
    draw = random.Random(seed)
    each = -(-dialogues // len(grammars))
    found: list[Messages] = []
    for path in grammars:
        # Some drawn rows belong to other splits, so more are asked for than are kept.
        rows = synthesize(load_grammar(path), 4 * each, seed, answers="general")
        training = (row["messages"] for row in _until_exhausted(rows) if row["split"] == "train")
        found += list(_with_prompt(islice(training, each), system_prompt(path), draw))
    draw.shuffle(found)
    return found


def _until_exhausted(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All rows a grammar has: a small one may run out of new questions, and gives what it has."""
    try:
        yield from rows
    except DataError:
        return


def _with_prompt(
    dialogues: Iterator[Messages], prompt: str | None, draw: random.Random
) -> Iterator[Messages]:
    for messages in dialogues:
        has_own = messages[0]["role"] == "system"
        if prompt and not has_own and draw.random() < WITH_SYSTEM_PROMPT:
            yield [{"role": "system", "content": prompt}, *messages]
        else:
            yield messages


def build_into(
    folder: Path,
    dialogues: list[Messages],
    training: Train,
    seed: int,
    architecture: dict[str, Any] | None = None,
    threads: int = THREADS,
) -> None:
    """Train tokenizer and network on `dialogues` and leave them in `folder`, whole or not at all.

    Args:
        architecture: arguments of `Qwen3Config`; default: tiny's.
        threads: CPU threads; sums in another order round otherwise, so the number is fixed.
    """
    import torch

    from kit.models.copying import start_copying
    from kit.models.quiet import quiet_libraries
    from kit.models.tiny import ARCHITECTURE
    from kit.train.stages import train

    quiet_libraries()
    shape = architecture or ARCHITECTURE
    tokenizer = new_tokenizer((turn["content"] for row in dialogues for turn in row), shape["vocab_size"])
    with _workplace(folder) as workplace, new_folder(folder) as made:
        base = workplace / "random"
        model = new_model(tokenizer, seed, shape)
        start_copying(model, seed)
        model.save_pretrained(base)
        tokenizer.save_pretrained(base)
        config = Config.model_validate(
            {
                "seed": seed,
                "model": {"name": str(base), "max_length": shape["max_position_embeddings"]},
                "method": {"name": "full"},
                "train": training,
                "hardware": {"device": "cpu", "num_threads": threads},
                "tracking": {"report_to": []},
            }
        )
        prepared = _prepared(workplace / "prepared", dialogues)
        threads_before = torch.get_num_threads()
        try:
            run = train(config, workplace, prepared, task_score=None, called="building tiny")
        finally:
            torch.set_num_threads(threads_before)
        for path in sorted((run / "golden").iterdir()):
            if path.name != "golden.json":
                path.rename(made / path.name)
        write_json(made / "tiny.json", {"dialogues": len(dialogues), "seed": seed, "kit": "casekit"})


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """An empty folder to build in, which is gone after the block; one that a killed build left, too."""
    workplace = workplace_of(folder)
    shutil.rmtree(workplace, ignore_errors=True)
    workplace.mkdir(parents=True)
    try:
        yield workplace
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def _prepared(folder: Path, dialogues: list[Messages]) -> Path:
    """Write the corpus in the form in which the train stage reads prepared data."""
    import datasets

    splits = {"valid": dialogues[:VALIDATION_ROWS], "train": dialogues[VALIDATION_ROWS:]}
    for split, rows in splits.items():
        datasets.Dataset.from_dict({"messages": rows}).save_to_disk(str(folder / split))
    write_json(folder / "data.json", {"schema": 1, "fingerprint": "tiny"})
    return folder
