"""Every check on every real file, with the settings that a user of the file would choose.

    python bench/real_data.py [--data ../shared/data] [--only FILE ...]
    python bench/real_data.py --flagged html refusal phone [--count 20] [--letters 1500]

Prints the tables of docs/explanation/real-data.md: rows by check and file, each file by itself, checks at
their defaults. `--flagged` prints rows that a check found, to be read by hand: those first in the order of a
hash of their places, over all files, so that they are the same ones each time and others for each check.

Nothing is trained and no model is needed. Tokens are those of a byte-level BPE of 32,000 pieces that learns
from the first 300 rows of each file, so that a Chinese word costs what it does in a large model's tokenizer.
"""

import argparse
import hashlib
import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from kit.config.schema import Config
from kit.data import check as checks
from kit.data.personal import KINDS
from kit.data.prepare import check
from kit.data.tools import texts_of
from kit.hooks import Hooks
from kit.models.tiny import new_tokenizer

VOCABULARY = 32_000
LEARNED_FROM = 300  # rows of each file
TEXT = (*KINDS, "language", "encoding", "html", "template_marks", "boilerplate", "repetition", "refusal")
"""The kinds of the second table,"""
ADVICE = ("length", "expected", "no_group", "balance", "revision", "skipped")
"""those that say nothing of a row's worth,"""
ROWS = tuple(name for name in checks.WHAT if name not in (*TEXT, *ADVICE, "personal"))
"""and all others: the first table."""

Record = dict[str, Any]


# --- readers: what a project would have in src/<package>/hooks.py ------------------------------


def pubmedqa(record: Record) -> Record:
    """An abstract and its question; the decision and the conclusion."""
    asked = "\n\n".join([*record["contexts"], record["question"]])
    decision = record["final_decision"]
    return _dialogue(asked, f"{decision}. {record['long_answer']}", decision=decision)


def obliqa(record: Record) -> Record:
    """A question to the rule books; the passages that answer it, each with its number."""
    passages = record["Passages"]
    first = passages[0]
    return _dialogue(
        record["Question"],
        "\n\n".join(f"{passage['PassageID']}\n{passage['Passage']}" for passage in passages),
        passage=f"{first['DocumentID']}/{first['PassageID']}",
        passages=len(passages),
    )


def tatqa(record: Record) -> Record:
    """A page of a report with its table and a question; spans are joined, numbers have their unit."""
    table = "\n".join(" | ".join(cells) for cells in record["table"])
    answer = record["answer"]
    spans = answer if isinstance(answer, list) else [answer]
    return _dialogue(
        "\n\n".join([*record["paragraphs"], table, record["question"]]),
        " ".join(filter(None, ["; ".join(map(str, spans)), record["scale"]])),
        page=str(zlib.crc32(table.encode())),
        answer_type=record["answer_type"],
    )


def fineva(record: Record) -> Record:
    """A question, with its clause and choices where it has some; a letter, yes or no."""
    if not record["answer"]:
        raise ValueError("its answer was not published")
    choices = [f"{letter}. {record[letter]}" for letter in "ABCD" if record.get(letter)]
    asked = "\n".join(filter(None, [record.get("context"), record["question"], *choices]))
    return _dialogue(asked, record["answer"], task=record["task"])


def multidogo(record: Record) -> Record:
    """The customer's side of a dialogue, every turn answered by its intent."""
    messages = []
    for turn in record["turns"]:
        messages.append({"role": "user", "content": turn["utterance"]})
        messages.append({"role": "assistant", "content": turn["intent"]})
    return {"messages": messages, "domain": record["domain"]}


def english_into_french(record: Record) -> Record:
    """An English text of a shop and its French translation."""
    return _dialogue(record["en"], record["fr"], language="fr")


def french_into_spanish(record: Record) -> Record:
    """A French text of a shop and its Spanish translation."""
    return _dialogue(record["fr"], record["es"], language="es")


def _dialogue(asked: str, answered: str, **columns: Any) -> Record:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return {"messages": turns, **columns}


# --- settings: what it would have in conf/project.yaml ------------------------------------------

EXAMS = ("eval_gsm8k_en", "eval_mgsm_multi", "eval_user_instructions_en", "eval_xstest_en")
"""What a release would be tested on: nothing of it may be learned."""


@dataclass(frozen=True)
class Plan:
    """How a file is read and checked."""

    file: str
    languages: str
    columns: dict[str, str] = field(default_factory=dict)
    reader: Callable[[Record], Record] | None = None
    max_length: int = 1024
    slices: str | None = None
    group_by: str | None = None
    system_prompt: str | None = None
    benchmarks: tuple[str, ...] = EXAMS
    documents: bool = False

    def config(self, folder: Path) -> Config:
        """The settings of a project whose root is the folder of the data."""
        source = {"path": f"{self.file}.jsonl", "columns": self.columns}
        exams = [f"{name}.jsonl" for name in self.benchmarks if name != self.file]
        data = {
            "sources": [source | ({"format": "own"} if self.reader else {})],
            "slices": self.slices.split() if self.slices else [],
            "split": {"group_by": self.group_by},
            "system_prompt": self.system_prompt,
            "benchmarks": [name for name in exams if (folder / name).is_file()],
            "num_proc": 1,  # each file is small
        }
        return Config.model_validate(
            {
                "project": {"languages": self.languages.split()},
                "model": {"max_length": self.max_length},
                "train": {"stage": "pretrain" if self.documents else "sft"},
                "data": data,
            }
        )


QUESTION = {"prompt": "question", "completion": "answer"}
NOTE = {"prompt": "dialogue", "completion": "section_text"}
TO_FRENCH, TO_SPANISH = (f"Translate the shop's text into {name}." for name in ("French", "Spanish"))

PLANS = (
    Plan(
        "medical_medquad_en",
        "en",
        QUESTION,
        max_length=4096,
        slices="qtype",
        group_by="focus",
        benchmarks=(*EXAMS, "medical_pubmedqa_en", "medical_mtsdialog_en"),
    ),
    Plan("medical_mtsdialog_en", "en", NOTE, max_length=4096, slices="section_header"),
    Plan("medical_pubmedqa_en", "en", reader=pubmedqa, slices="decision"),
    Plan("medical_toyhom_zh", "zh", {"prompt": "ask", "completion": "answer"}, slices="department"),
    Plan(
        "finance_banking77_en",
        "en",
        {"prompt": "text", "completion": "category"},
        benchmarks=(*EXAMS, "finance_clinc_oos_en"),
    ),
    Plan("finance_cfpb_regs_en", "en", slices="part", documents=True),
    Plan("finance_clinc_oos_en", "en", {"prompt": "text", "completion": "intent"}, slices="in_domain"),
    Plan("finance_disc_zh", "zh", max_length=4096, slices="part"),
    Plan("finance_fineva_zh", "zh", reader=fineva, slices="task"),
    Plan("finance_multidogo_en", "en", reader=multidogo, slices="domain"),
    Plan("finance_obliqa_en", "en", reader=obliqa, max_length=4096, slices="passages", group_by="passage"),
    Plan("finance_tatqa_en", "en", reader=tatqa, max_length=4096, slices="answer_type", group_by="page"),
    Plan(
        "ecom_bagisto_parallel_en_fr_es",
        "en fr",
        reader=english_into_french,
        slices="language",
        system_prompt=TO_FRENCH,
    ),
    Plan(
        "ecom_spree_glossary_fr_es",
        "fr es",
        reader=french_into_spanish,
        slices="language",
        system_prompt=TO_SPANISH,
    ),
    Plan(
        "ecom_bitext_en", "en", {"prompt": "instruction", "completion": "response"}, slices="category intent"
    ),
    Plan("ecom_hetpqa_en", "en", QUESTION, slices="evidence_source", group_by="ASIN"),
    Plan("ecom_mschitchat_multi", "en fr es", QUESTION, slices="language", group_by="canonical"),
    Plan("eval_gsm8k_en", "en", QUESTION),
    Plan(
        "eval_language_confusion_multi",
        "en fr es zh",
        {"text": "prompt"},
        max_length=4096,
        slices="language setting",
        documents=True,  # prompts without answers
    ),
    Plan("eval_mgsm_multi", "en fr es zh", QUESTION, slices="language", group_by="idx"),
    Plan("eval_user_instructions_en", "en", max_length=2048),
    Plan("eval_xstest_en", "en", {"completion": "label"}, slices="type"),
)


# --- the run ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What was found in a file."""

    plan: Plan
    summary: dict[str, Any]
    """As in `data.json`, with every example."""

    def count(self, kind: str) -> int:
        """Rows that a check found, or that hold personal data of a kind."""
        if kind in KINDS:
            return next(int(k["rows"]) for k in self.summary["personal"]["kinds"] if k["kind"] == kind)
        return int(self._check(kind)["count"])

    def flagged(self, kind: str) -> Iterator[dict[str, Any]]:
        """Where these rows stand, and why."""
        if kind not in KINDS:
            yield from self._check(kind)["examples"]
            return
        for example in self._check("personal")["examples"]:
            told = [one for one in example["text"].split("; ") if one.startswith(f"{kind} ")]
            if told:
                yield {"where": example["where"], "text": "; ".join(told)}

    def _check(self, name: str) -> dict[str, Any]:
        return next(check for check in self.summary["checks"] if check["name"] == name)


def main() -> None:
    """Check, and print tables or rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--only", nargs="+", metavar="FILE", help="these files, named without .jsonl")
    parser.add_argument("--flagged", nargs="+", metavar="CHECK", choices=[*ROWS, *TEXT])
    parser.add_argument("--count", type=int, default=20, help="so many rows of each check")
    parser.add_argument("--letters", type=int, default=1500, help="so much of each text of a row")
    options = parser.parse_args()
    plans = [plan for plan in PLANS if plan.file in (options.only or [plan.file])]
    there = [plan for plan in plans if (options.data / f"{plan.file}.jsonl").is_file()]
    for plan in plans:
        if plan not in there:
            print(f"not there: {options.data / plan.file}.jsonl", file=sys.stderr)
    if not there:
        parser.error(f"none of the files is in {options.data}: name their folder by --data")
    results = run(there, options.data)
    if options.flagged:
        for kind in options.flagged:
            print_flagged(kind, results, options.data, options.count, options.letters)
    else:
        print_table(ROWS, results)
        print_table(TEXT, results, turns=True)


def run(plans: Sequence[Plan], folder: Path) -> list[Result]:
    """Each file by itself, with the checks at their defaults."""
    checks.MOST_EXAMPLES = sys.maxsize  # all that is found, to draw from
    tokenizer = new_tokenizer(_texts(folder), VOCABULARY)
    results = []
    for plan in plans:
        hooks = Hooks(readers={"own": plan.reader} if plan.reader else {})
        results.append(Result(plan, check(plan.config(folder), folder, hooks, tokenizer).summary))
    return results


def _texts(folder: Path) -> Iterator[str]:
    """What the tokenizer learns from: the same for any choice of files."""
    for name in sorted({plan.file for plan in PLANS if (folder / f"{plan.file}.jsonl").is_file()}):
        with (folder / f"{name}.jsonl").open(encoding="utf-8") as lines:
            for line in islice(lines, LEARNED_FROM):
                yield "\n".join(texts_of(json.loads(line)))


def print_table(kinds: Sequence[str], results: Sequence[Result], turns: bool = False) -> None:
    """Rows by file and kind, in Markdown; kinds that no file has in one line below it."""
    shown = [kind for kind in kinds if any(result.count(kind) for result in results)]
    last = ["languages of turns"] if turns else []
    columns = ["file", "read", "kept", *(kind.replace("_", " ") for kind in shown), *last]
    print(f"| {' | '.join(columns)} |")
    print(f"|---|{'--:|' * (2 + len(shown))}{'---|' * len(last)}")
    table = [[result.summary["rows"][name] for name in ("read", "kept")] for result in results]
    for row, result in zip(table, results, strict=True):
        row += [result.count(kind) for kind in shown]
        _print_row(f"`{result.plan.file}`", row, [_languages([result])] if turns else [])
    if len(results) > 1:
        sums = [sum(column) for column in zip(*table, strict=True)]
        _print_row("all", sums, [_languages(results)] if turns else [])
    nothing = ", ".join(f"`{kind}`" for kind in kinds if kind not in shown)
    print(f"\nIn none of them: {nothing}.\n" if nothing else "")


def _print_row(name: str, counts: Sequence[int], last: Sequence[str]) -> None:
    print(f"| {' | '.join([name, *(f'{count:,}' if count else '--' for count in counts), *last])} |")


def _languages(results: Sequence[Result]) -> str:
    """Turns by language, and those that are too short to tell."""
    turns: Counter[str] = Counter()
    untold = 0
    for result in results:
        turns.update(result.summary["languages"]["turns"])
        untold += result.summary["languages"]["not_judged"]
    return ", ".join(f"{name} {count:,}" for name, count in [*turns.most_common(), ("untold", untold)])


def print_flagged(kind: str, results: Sequence[Result], folder: Path, count: int, letters: int) -> None:
    """The first rows of a kind in the order of a hash of their places, with all they are compared with."""
    found = [(result.plan, example) for result in results for example in result.flagged(kind)]
    found.sort(key=lambda one: hashlib.sha256(f"{kind} {one[0].file} {one[1]['where']}".encode()).digest())
    print(f"## {kind}: {len(found):,} flagged, {min(count, len(found))} shown\n")
    for number, (plan, example) in enumerate(found[:count], start=1):
        print(f"{number}. {example['where']}: {_escaped(example['text'])}")
        places = [example["where"], *re.findall(rf"{plan.file}\.jsonl:\d+", example["text"])]
        for place in dict.fromkeys(places):
            line = int(place.rpartition(":")[2])
            for name, value in _record(folder / f"{plan.file}.jsonl", line).items():
                if name not in ("source", "license"):
                    print(f"   {line} {name}: {_escaped(value)[:letters]}")
        print()


def _record(path: Path, line: int) -> Record:
    with path.open(encoding="utf-8") as lines:
        record: Record = json.loads(next(islice(lines, line - 1, None)))
    return record


def _escaped(value: Any) -> str:
    """One line, without what a terminal would obey."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)


if __name__ == "__main__":
    main()
