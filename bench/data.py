"""What preparing data costs, step by step, at 10,000 to 1,000,000 rows, beside pandas and datasets.

    python bench/data.py [--rows 10000 100000 1000000] [--data ../shared/data] [--no-script]

The rows are short dialogues: those of the recipes' grammars and, where the folder is there, the questions and
answers of real files, every one made distinct by words of another; one in twenty is an exact copy, one in
twenty a near one, one in a hundred has an e-mail address. The script does what a user would write otherwise:
`datasets.load_dataset`, pandas' `drop_duplicates` on normalised text, datasketch's MinHash LSH (where it is
installed), a split by hash, `datasets.map` with the chat template, `save_to_disk`; it has no mask, no other
check, and keeps the tokens instead of the rows.

Every measurement runs in a process of its own. Time is that of the processors, of this process and all it
started, so that other work on the machine does not count and several processes are no faster than one. Memory
is the highest sum of the proportional set sizes (PSS) of that process and all it started, looked at twice a
second; the data lies on disk before it begins. Both use as many processes as there are processors.
"""

import argparse
import hashlib
import importlib.util
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from kit.config.schema import Config
from kit.data import across, prepare, rowwise
from kit.data.grammar_load import load_grammar
from kit.data.pool import processors
from kit.data.synth import synthesize
from kit.hooks import Hooks
from kit.models.tiny import new_tokenizer

ROOT = Path(__file__).parents[1]
CASES = ("finance", "medical", "ecommerce")
REAL = {  # file -> columns of question and answer
    "ecom_bitext_en": ("instruction", "response"),
    "medical_medquad_en": ("question", "answer"),
}
LONGEST = 400  # characters of a real text
Messages = list[dict[str, str]]
Steps = dict[str, float]


def base_dialogues(folder: Path) -> list[Messages]:
    """Dialogues to draw from: 3,000 of each grammar, and those of the real files that are short."""
    found: list[Messages] = []
    for case in CASES:
        grammar = load_grammar(ROOT / "recipes" / case / "dialogues.yaml")
        found += [row["messages"] for row in synthesize(grammar, 3000, 42)]
    for name, (asked, answered) in REAL.items():
        path = folder / f"{name}.jsonl"
        for line in path.open(encoding="utf-8") if path.exists() else ():
            row = json.loads(line)
            question, answer = str(row.get(asked) or ""), str(row.get(answered) or "")
            if question and answer and max(len(question), len(answer)) <= LONGEST:
                found.append([_said("user", question), _said("assistant", answer)])
    return found


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def write_rows(path: Path, count: int, base: list[Messages]) -> None:
    """Write `count` rows; the same ones for the same count."""
    draw = random.Random(7)
    recent: list[Messages] = []
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            chance = draw.random()
            if recent and chance < 0.1:
                messages = [dict(message) for message in draw.choice(recent)]
                if chance < 0.05:
                    messages[-2]["content"] = f"please, {messages[-2]['content']}"
            else:
                messages = [dict(message) for message in draw.choice(base)]
                words = messages[-2]["content"].split()
                others = draw.choice(base)[0]["content"].split()
                for _ in range(3):
                    words.insert(draw.randrange(len(words) + 1), draw.choice(others))
                messages[-2]["content"] = " ".join(words)
                recent = [*recent[-999:], messages]
            if number % 100 == 0:
                messages[-2]["content"] += f" Write to user{number}@mail.example."
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def settings(path: Path, num_proc: int | None = None) -> Config:
    """The kit's defaults; documents of every language."""
    data: dict[str, Any] = {"sources": [{"path": path.name}], "num_proc": num_proc}
    return Config.model_validate({"data": data, "project": {"languages": ["en", "fr", "es"]}})


def tokenizer_of(path: Path) -> Any:
    """A small tokenizer, as that of tiny is made."""
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for _, line in zip(range(2000), lines, strict=False)]
    return new_tokenizer("\n".join(m["content"] for m in row["messages"]) for row in rows)


def spent() -> float:
    """Processor seconds of this process, and of those that it started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


# --- the kit ----------------------------------------------------------------------------------


def kit_steps(path: Path) -> Steps:
    """`data prepare`, timed step by step."""
    tokenizer = tokenizer_of(path)
    steps: Steps = {}
    prepare.gather = timed(prepare.gather, "read, check, tokenise", steps)
    prepare.check_boilerplate = timed(prepare.check_boilerplate, "boilerplate", steps)
    prepare.mix = timed(prepare.mix, "mix", steps)
    prepare.count_values = timed(prepare.count_values, "balance", steps)
    prepare.write_split = timed(prepare.write_split, "write", steps)
    finders_of = across.finders_of

    def timed_finders(*args: Any) -> dict[str, Any]:
        return {
            name: timed_finder(find, "near checks" if "near" in name else "exact checks", steps)
            for name, find in finders_of(*args).items()
        }

    across.finders_of = timed_finders
    begun = spent()
    prepare.prepare(settings(path), path.parent, Hooks(), tokenizer)
    steps["all"] = spent() - begun
    return steps


def timed(work: Callable[..., Any], name: str, steps: Steps) -> Callable[..., Any]:
    """`work`, whose seconds are added to a step."""

    def inner(*args: Any, **kwargs: Any) -> Any:
        with counted(name, steps):
            return work(*args, **kwargs)

    return inner


def timed_finder(find: Callable[..., Iterator[Any]], name: str, steps: Steps) -> Callable[..., Iterator[Any]]:
    """A finder, whose seconds between its findings are added to a step."""

    def inner(rows: Any) -> Iterator[Any]:
        found = find(rows)
        while True:
            with counted(name, steps):
                item = next(found, None)
            if item is None:
                return
            yield item

    return inner


@contextmanager
def counted(name: str, steps: Steps) -> Iterator[None]:
    """Processor seconds of the block."""
    begun = spent()
    yield
    steps[name] = steps.get(name, 0.0) + spent() - begun


def row_steps(path: Path) -> Steps:
    """What is done with a row on its own, in one process, by part."""
    tokenizer = tokenizer_of(path)
    steps: Steps = {}
    parts = {
        "clean": "clean",
        "check_structure": "roles",
        "check_personal": "personal data",
        "assign": "split",
        "fit": "tokenise and mask",
        "keys_of": "keys",
        "marks_of": "near marks",
        "sentence_hashes": "sentences",
    }
    for name, step in parts.items():
        setattr(rowwise, name, timed(getattr(rowwise, name), step, steps))
    rowwise.Quality.keeps = timed(rowwise.Quality.keeps, "text checks", steps)  # type: ignore[method-assign]
    begun = spent()
    prepare.gather(settings(path, num_proc=1), path.parent, Hooks(), tokenizer)
    steps["reading and the rest"] = spent() - begun - sum(steps.values())
    return steps


# --- the script -------------------------------------------------------------------------------


def script_steps(path: Path) -> Steps:
    """The same job with pandas and datasets, as a user would write it."""
    import pandas
    from datasets import Dataset, disable_progress_bars, load_dataset

    disable_progress_bars()
    tokenizer = tokenizer_of(path)
    steps: Steps = {}
    begun = spent()
    with counted("read", steps):
        cache = str(path.parent / "cache")
        frame = load_dataset("json", data_files=str(path), split="train", cache_dir=cache).to_pandas()
    with counted("exact duplicates", steps):
        frame["text"] = [_normal(messages) for messages in frame["messages"]]
        frame = frame.drop_duplicates("text")
    if importlib.util.find_spec("datasketch"):
        with counted("near duplicates", steps):
            frame = frame[_not_near(frame["text"])]
    with counted("split", steps):
        asked = [messages[0]["content"] for messages in frame["messages"]]
        share = (
            pandas.Series([int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) for text in asked]) / 2**32
        )
        frame = frame.assign(split=["test" if s < 0.1 else "valid" if s < 0.2 else "train" for s in share])
    with counted("tokenise", steps):
        table = Dataset.from_pandas(frame[["messages", "split"]], preserve_index=False)
        table = table.map(
            lambda row: tokenizer.apply_chat_template(row["messages"], tokenize=True, return_dict=True),
            num_proc=processors(),
        )
    with counted("write", steps):
        for split in ("train", "valid", "test"):
            table.filter(lambda row, split=split: row["split"] == split).save_to_disk(
                str(path.parent / split)
            )
    steps["all"] = spent() - begun
    return steps


def _normal(messages: Any) -> str:
    text = "\n".join(message["content"] for message in messages)
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _not_near(texts: Any) -> list[bool]:
    from datasketch import MinHash, MinHashLSH

    lsh = MinHashLSH(threshold=0.8, num_perm=128)
    kept = []
    for number, text in enumerate(texts):
        minhash = MinHash(num_perm=128)
        minhash.update_batch([text[i : i + 4].encode() for i in range(max(1, len(text) - 3))])
        kept.append(not lsh.query(minhash))
        if kept[-1]:
            lsh.insert(number, minhash)
    return kept


# --- measuring --------------------------------------------------------------------------------

MEASURED = {"kit": kit_steps, "script": script_steps, "row": row_steps}


def in_own_process(what: str, path: Path) -> tuple[Steps, float]:
    """Seconds by step and the most memory in MB, of a process that does nothing else."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--measure", what, str(path)], stdout=subprocess.PIPE, text=True
    )
    most = 0.0
    while process.poll() is None:
        most = max(most, memory_of(process.pid))
        time.sleep(0.5)
    output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{what} failed")
    return json.loads(output.splitlines()[-1]), most / 1e6


def memory_of(pid: int) -> float:
    """Bytes of a process and all it started, what they share counted once."""
    total = 0.0
    try:
        main = psutil.Process(pid)
        for process in [main, *main.children(recursive=True)]:
            total += process.memory_full_info().pss
    except psutil.Error:
        return 0.0
    return total


def report(sizes: list[int], folder: Path, with_script: bool) -> None:
    """Tables in Markdown."""
    base = base_dialogues(folder)
    real = sum(1 for name in REAL if (folder / f"{name}.jsonl").exists())
    print(
        f"{len(base):,} dialogues to draw from, {real} of {len(REAL)} real files, {processors()} processors\n"
    )
    for size in sizes:
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / "rows.jsonl"
            write_rows(path, size, base)
            megabytes = path.stat().st_size / 1e6
            print(f"**{size:,} rows, {megabytes:.0f} MB**\n")
            print("| | step | rows a processor second | share |\n|---|---|--:|--:|")
            for what in ("kit", "script") if with_script else ("kit",):
                steps, memory = in_own_process(what, path)
                for name, seconds in steps.items():
                    print(f"| {what} | {name} | {size / seconds:,.0f} | {seconds / steps['all']:.0%} |")
                print(f"| {what} | most memory | {memory:,.0f} MB | |", flush=True)
            if size == sizes[0]:
                steps, _ = in_own_process("row", path)
                everything = sum(steps.values())
                print("\n| a row on its own, in one process | share |\n|---|--:|")
                for name, seconds in sorted(steps.items(), key=lambda item: -item[1]):
                    print(f"| {name} | {seconds / everything:.0%} |")
            print()


def main() -> None:
    """Measure everything, or (for the process of one measurement) one thing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    parser.add_argument("--no-script", action="store_true", help="leave pandas and datasets out")
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        what, path = given.measure
        print(json.dumps(MEASURED[what](Path(path))))
    else:
        report(given.rows, given.data, not given.no_script)


if __name__ == "__main__":
    main()
