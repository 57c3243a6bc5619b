"""What each check of text costs: rows a second of `data check` with the check off and on.

    python bench/data_checks.py [--rows 20000] [--case ecommerce] [FILE:PROMPT:ANSWER ...]

Rows are synthetic dialogues of a recipe, or those of JSON Lines files with the columns named, repeated until
there are enough. Read, rendered and compared once with all checks off (the baseline); then every check runs
alone on the same rows, three times, and the quickest counts. Seconds are of this process's CPU, so that other
work on the machine does not count. A table in Markdown; the ratio is rows a second on / off.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from kit.config.schema import Config
from kit.data.balance import check_balance, count_values
from kit.data.boilerplate import Sentences, sentence_hashes
from kit.data.check import Findings
from kit.data.grammar_load import load_grammar
from kit.data.prepare import check
from kit.data.quality import Quality
from kit.data.read import open_source
from kit.data.rows import Row
from kit.data.split import assign
from kit.data.synth import synthesize
from kit.hooks import Hooks
from kit.models.tiny import new_tokenizer

ROOT = Path(__file__).parents[1]
CHECKS = ["language", "encoding", "html", "template_marks", "boilerplate", "repetition", "refusal", "balance"]
REPEATS = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", nargs="*", metavar="FILE:PROMPT:ANSWER")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--case", default="ecommerce")
    parser.add_argument("--languages", nargs="+", default=["en", "fr", "es"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = real_rows(options.files) if options.files else synthetic_rows(options.case, options.rows)
        source = Path(folder) / "rows.jsonl"
        with source.open("w", encoding="utf-8") as file:
            for number in range(options.rows):
                file.write(json.dumps(rows[number % len(rows)], ensure_ascii=False) + "\n")
        config = settings(options.languages, source)
        tokenizer = new_tokenizer(text_of(row) for row in rows[:2000])
        off, _ = timed(lambda: check(config, source.parent, Hooks(), tokenizer))
        prepared = rows_of(config, source.parent)
    print(f"{options.rows} rows, {options.rows / off:.0f} rows/s with all checks of text off\n")
    print("| check | rows/s on | ratio | found |\n|---|--:|--:|--:|")
    added = 0.0
    for name in CHECKS:
        seconds, found = min(timed(partial(look, name, prepared, options.languages)) for _ in range(REPEATS))
        added += seconds
        print(f"| `{name}` | {options.rows / (off + seconds):.0f} | {off / (off + seconds):.2f} | {found} |")
    print(f"| all of them | {options.rows / (off + added):.0f} | {off / (off + added):.2f} | |")


def synthetic_rows(case: str, count: int) -> list[dict[str, Any]]:
    """Dialogues of a recipe's grammar."""
    return list(synthesize(load_grammar(ROOT / "recipes" / case / "dialogues.yaml"), count, 42))


def real_rows(files: list[str]) -> list[dict[str, Any]]:
    """The prompts and answers of JSON Lines files."""
    rows = []
    for path, prompt, answer in (file.rsplit(":", 2) for file in files):
        with Path(path).open(encoding="utf-8") as lines:
            found = [json.loads(line) for line in lines]
        rows += [{"prompt": str(row[prompt]), "completion": str(row[answer])} for row in found]
    return rows


def settings(languages: list[str], path: Path, on: str = "") -> Config:
    """Settings in which one check is on."""
    return Config.model_validate(
        {
            "project": {"languages": languages},
            "model": {"max_length": 4096},
            "data": {
                "sources": [{"path": path.name}],
                "checks": {name: "report" if name == on else "off" for name in CHECKS},
                "num_proc": 1,
            },
        }
    )


def rows_of(config: Config, root: Path) -> list[Row]:
    """The rows as the checks meet them."""
    _, reader, records = open_source(config.data.sources[0], 0, config, root, Hooks())
    rows = (reader.row(record, config, Hooks()) for record in records)
    return [row for row in rows if isinstance(row, Row) and assign(row, config.data.split) is None]


def text_of(row: dict[str, Any]) -> str:
    """All text of a row, for a tokenizer to learn from."""
    if "prompt" in row:
        return f"{row['prompt']}\n{row['completion']}"
    return "\n".join(message["content"] for message in row["messages"])


def look(name: str, rows: list[Row], languages: list[str]) -> int:
    """One check alone; how much it found."""
    config = settings(languages, Path("rows.jsonl"), on=name)
    findings = Findings(config.data.checks)
    if name == "balance":
        check_balance(count_values(rows, config), findings)
    elif name == "boilerplate":
        sentences = Sentences()
        for row in rows:
            sentences.add(sentence_hashes(row))
        sentences.in_more_than(0.05 * len(rows))
    else:
        quality = Quality(config)
        for row in rows:
            quality.keeps(row, findings)
    return findings.checks[name].count


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds and the result."""
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


if __name__ == "__main__":
    main()
