"""What looking for personal data costs: `data check` without and with it, on synthetic dialogues.

    python bench/personal_data.py [--rows 100000] [--share 0.05] [--names en_core_web_lg]

Rows are made from the recipes' phrase grammars; `--share` of them get a value of some kind. Reading (JSON,
cleaning, structure, split) is timed without the check, with `report` and with `mask`; then the whole
`data check`, tokens and comparison of rows included. Every step is run `--repeats` times in turn, and the
fastest counts. `--names` adds the same with names of people, by an English spaCy pipeline. Seconds are those
of the processor, for the machine may have other work.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kit.config.schema import Config
from kit.data import prepare
from kit.data.gather import gather
from kit.data.personal import KINDS, find
from kit.hooks import Hooks
from kit.pipeline import tokenizer, write_synthetic

CASES = ("finance", "medical", "ecommerce")
VALUES = (
    "Card {0} {1} {2} {3}.",
    "I am user{0}@example.org.",
    "Call me on +33 6 12 34 {4} {5}.",
    "My number is (415) 555-{0}.",
    "MRN: 00{0}{1}.",
    "From 84.{4}.{5}.7.",
    "password: x{0}y!",
)


def main() -> None:
    """Print a table of rows a second."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--names", help="the package or folder of an English spaCy pipeline")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = write_rows(Path(folder), options.rows, options.share)
        texts = [message["content"] for row in rows for message in row["messages"]]
        size = sum(map(len, texts)) / 1e6
        print(f"{len(rows):,} rows, {len(texts):,} messages, {size:.1f} million characters")
        measure(Path(folder), rows, texts, options.repeats, options.names)


def write_rows(folder: Path, count: int, share: float) -> list[dict[str, Any]]:
    """Dialogues of all recipes, in `rows.jsonl`; numbered, so that no two are the same."""
    rng = random.Random(0)
    made: list[dict[str, Any]] = []
    for case in CASES:
        path = folder / f"{case}.jsonl"
        grammar = Path(__file__).parents[1] / "recipes" / case / "dialogues.yaml"
        write_synthetic(grammar, path, min(count, 3000), 42)
        made += [{"messages": json.loads(line)["messages"]} for line in path.open(encoding="utf-8")]
    rows = []
    for number in range(count):
        messages = [dict(message) for message in made[number % len(made)]["messages"]]
        messages[0]["content"] += f" (ticket T-{number})"
        if rng.random() < share:
            parts = [rng.randint(1000, 9999) for _ in range(4)] + [rng.randint(10, 99) for _ in range(2)]
            messages[0]["content"] += " " + rng.choice(VALUES).format(*parts)
        rows.append({"messages": messages})
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(text, encoding="utf-8")
    return rows


def measure(
    folder: Path, rows: list[dict[str, Any]], texts: list[str], repeats: int, names: str | None
) -> None:
    """Time every step in turn and print its fastest run."""
    words = tokenizer(Config())

    def settings(**data: Any) -> Config:
        return Config.model_validate({"data": {"sources": [{"path": "rows.jsonl"}], "num_proc": 1, **data}})

    def read(**data: Any) -> Callable[[], Any]:
        config = settings(**data)
        return lambda: gather(config, folder, Hooks(), words)

    def whole(**data: Any) -> Callable[[], Any]:
        config = settings(**data)
        return lambda: prepare.check(config, folder, Hooks(), words)

    steps = {
        "find, texts in memory": lambda: [find(text) for text in texts],
        "reading, without": read(personal_kinds=[]),
        "reading, report": read(),
        "reading, mask": read(personal="mask"),
        "whole check, without": whole(personal_kinds=[]),
        "whole check, report": whole(),
        "whole check, mask": whole(personal="mask"),
    }
    if names:
        people = {"personal_kinds": [*KINDS, "name"], "name_models": {"en": names}}
        steps["reading, report with names"] = read(**people)
        steps["whole check, report with names"] = whole(**people)
        steps["whole check, mask with names"] = whole(personal="mask", **people)
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.process_time()
            step()
            best[name] = min(best[name], time.process_time() - start)
            print(f"  {name}: {time.process_time() - start:.1f} s", file=sys.stderr)
    print("| step | seconds | rows/s |\n|---|--:|--:|")
    for name, seconds in best.items():
        print(f"| {name} | {seconds:.1f} | {len(rows) / seconds:,.0f} |")


if __name__ == "__main__":
    main()
