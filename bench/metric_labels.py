"""Precision and recall of the rule-based metrics against answers that were read and labelled by hand.

    python -P bench/metric_labels.py [--data ../shared/data]     prints the table of docs/reference/metrics.md

(`-P`, or bench/evaluate.py would be taken for the library of that name.) The labels are in
tests/evaluate/labels: file, row and what is right, never the text. Rules were mended by what was seen in
the development set; `fresh_*.jsonl` and `more_*.jsonl` were labelled after that, and no rule was changed for
them.
`written_*.jsonl` are sentences written for the purpose: `before` and `after` belong to the development set.
`written_contradiction.jsonl`, answers to a question beside a reference, was written when the metric was done.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kit.config.schema import MetricUse
from kit.evaluate.labels import given_label
from kit.evaluate.metrics import load_metric, score
from kit.evaluate.polarity import contradicted, statements
from kit.evaluate.policy import Policy, load_policy
from kit.evaluate.refusal import refusal_kind
from kit.hooks import Hooks

CASES = ("finance", "medical", "ecommerce", "general")
ROOT = Path(__file__).resolve().parents[1]
LABELS = ROOT / "tests" / "evaluate" / "labels"
DATA = ROOT.parent / "shared" / "data"

DEVELOPMENT, FRESH = "development", "fresh"
Label = dict[str, Any]
Key = tuple[str, str, str]
"""Metric, what it was measured on, and which set that belongs to."""
Judge = Callable[[Label, Path], bool]


@dataclass
class Counts:
    """What a metric said of labelled answers; a positive is a fault, or the thing that it looks for."""

    hits: int = 0
    false_alarms: int = 0
    misses: int = 0
    right: int = 0

    def add(self, said: bool, true: bool) -> None:
        """Count one answer."""
        self.hits += said and true
        self.false_alarms += said and not true
        self.misses += true and not said
        self.right += not said and not true

    def add_given(self, said: str | None, true: str | None) -> None:
        """Count one answer that gives one label or none: a wrong one is a false alarm and a miss."""
        for name in {said, true} - {None} or {None}:
            self.add(name is not None and said == name, name is not None and true == name)

    @property
    def n(self) -> int:
        """The labelled answers."""
        return self.hits + self.false_alarms + self.misses + self.right

    @property
    def positives(self) -> int:
        """Those with the fault."""
        return self.hits + self.misses

    @property
    def precision(self) -> float | None:
        """Of those called faulty, the share that are; None where none was."""
        called = self.hits + self.false_alarms
        return self.hits / called if called else None

    @property
    def recall(self) -> float | None:
        """Of the faulty, the share that was called so; None where there is none."""
        return self.hits / self.positives if self.positives else None


def measure(data: Path) -> dict[Key, Counts]:
    """Counts by metric, source and set, in the order of the table.

    Raises:
        FileNotFoundError: a file of the real data is not in `data`.
    """
    found: dict[Key, Counts] = defaultdict(Counts)
    for prefix, held in (("", DEVELOPMENT), ("fresh_", FRESH), ("more_", FRESH)):
        for path in (LABELS / f"{prefix}{case}.jsonl" for case in CASES):
            for label in _lines(path) if path.is_file() else ():
                what, source = f"{label['metric']} {label.get('rule', '')}".strip(), _source(label)
                if "gives" in label:
                    found[what, source, held].add_given(_GIVEN[what](label, data), label["gives"])
                else:
                    found[what, source, held].add(_JUDGES[what.split()[0]](label, data), label["fault"])
                if label["metric"] == "over_refusal_rate":
                    said = refusal_kind(_policy(label["case"]), _text(label, data))
                    found["refusal_rate", source, held].add(said == "full", label["kind"] == "full")
    for row in _read(data / "medical_pubmedqa_en.jsonl"):
        if row["final_decision"] != "maybe":
            said = statements(row["long_answer"])
            denied = bool(contradicted(said, statements("yes", row["question"])))
            found["contradiction", "PubMedQA conclusions, as annotated", DEVELOPMENT].add(
                denied, row["final_decision"] == "no"
            )
    _add_written_pairs(found)
    return {**dict(sorted(found.items())), **_written()}


def table(found: dict[Key, Counts]) -> str:
    """A Markdown table."""
    lines = [
        "| metric | measured on | set | n | positives | precision | recall |",
        "|---|---|---|---|---|---|---|",
    ]
    for (metric, source, held), counts in found.items():
        shares = [_share(counts.precision), _share(counts.recall)]
        cells = [f"`{metric}`", source, held, str(counts.n), str(counts.positives), *shares]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _written() -> dict[Key, Counts]:
    """The rules of a policy together: each rule that should be or is named counts once an answer."""
    found: dict[Key, Counts] = defaultdict(Counts)
    for case in ("finance", "medical"):
        policy = _policy(case)
        kinds = {rule.id: "disclosure_rate" if rule.must else "violation_rate" for rule in policy.rules}
        for row in _lines(LABELS / f"written_{case}.jsonl"):
            answer, expected = row["answer"], row["expected"]
            held = FRESH if row["written"] == FRESH else DEVELOPMENT
            when = "" if held == FRESH else f", {row['written']} the rules were first mended"
            source = f"written sentences, {case}{when}"
            named = {*policy.violations(answer, expected), *policy.missing(answer, expected)}
            for metric in ("violation_rate", "disclosure_rate"):
                said, wanted = (
                    {rule for rule in rules if kinds[rule] == metric} for rules in (named, row["rules"])
                )
                for rule in said | wanted or {""}:
                    found[metric, source, held].add(rule in said, rule in wanted)
            if "given" in row:
                urgent = {"emergency", "urgent"}
                firmly = policy.recommendation(answer, firm_only=True)
                key = ("escalation_recall, under_triage", f"{source}, sent on", held)
                found[key].add(firmly in urgent, row["given"] in urgent)
                given = None if row["given"] == "none" else row["given"]
                levels = found["recommendation_accuracy, over_triage", f"{source}, which level", held]
                levels.add_given(policy.recommendation(answer), given)
    return dict(sorted(found.items()))


def _add_written_pairs(found: dict[Key, Counts]) -> None:
    """Count answers that were written beside a reference, half of them so that they contradict it."""
    rows = list(_lines(LABELS / "written_contradiction.jsonl"))
    references = [{"answer": row["reference"], "prompt": row["prompt"]} for row in rows]
    metric = load_metric(MetricUse(name="contradiction"), Hooks(), ROOT, ["en", "fr", "es"])
    items = score(metric, [row["answer"] for row in rows], references).items
    for row, item in zip(rows, items, strict=True):
        found["contradiction", "written answers, 3 languages", FRESH].add(item == 1, row["fault"])


def _rule(label: Label, data: Path) -> bool:
    (rule,) = [rule for rule in _policy(label["case"]).rules if rule.id == label["rule"]]
    return rule.broken_by(_text(label, data))


def _refusal(label: Label, data: Path) -> bool:
    return refusal_kind(_policy(label["case"]), _text(label, data)) is not None


def _metric(label: Label, data: Path) -> bool:
    """Whether a metric without a policy finds the fault, the reference being another row or column."""
    row = _read(data / label["file"])[label["row"]]
    reference: dict[str, Any] = {"language": label.get("language", "")}
    if "against" in label:
        reference["answer"] = _read(data / label["file"])[label["against"]][
            label.get("against_at", label["at"])
        ]
    if "source" in label:
        reference |= {"source": row[label["source"]], "source_language": label["source"]}
    if "prompt" in label:
        reference["prompt"] = row[label["prompt"]]
    if "slot" in label:
        reference["slots"] = [label["slot"]]
    if label["metric"] == "resolution_rate":
        reference["required"] = _STEPS[row["intent"]]
    use = MetricUse(name=label["metric"], params=_PARAMS.get(label["metric"], {}))
    metric = load_metric(use, Hooks(), ROOT, ["en", "fr", "es"])
    (item,) = score(metric, [_text(label, data)], [reference]).items
    return item is not None and (item == 0) == metric.higher_is_better


def _named(label: Label, data: Path) -> bool:
    """Whether a text names a condition; the others are there to be named wrongly."""
    metric = load_metric(MetricUse(name="label_set_f1", params={"labels": _CONDITIONS}), Hooks(), ROOT)
    (item,) = score(metric, [_text(label, data)], [{"labels": [label["label"]]}]).items
    return bool(item)


def _sends_on(label: Label, data: Path) -> bool:
    return _policy(label["case"]).hand_over.made_in(_text(label, data))


def _cites(label: Label, data: Path) -> bool:
    """Whether a text is seen to cite anything; nothing that it cites is expected."""
    metric = load_metric(MetricUse(name="citation_fidelity"), Hooks(), ROOT)
    return score(metric, [_text(label, data)], [{"citations": ["-"]}]).details != [["cites nothing"]]


def _yes_or_no(label: Label, data: Path) -> str | None:
    return given_label(_text(label, data), ["yes", "no"])


def _level(label: Label, data: Path) -> str | None:
    return _policy(label["case"]).recommendation(_text(label, data))


_PARAMS = {
    "locale_form": {"register": "formal"},
    "glossary_adherence": {"glossary": str(LABELS / "glossary.yaml")},
}
_CONDITIONS = [
    ["hypertension", "high blood pressure"],
    "diabetes",
    "asthma",
    "anxiety",
    "pneumonia",
    "arthritis",
]
_SIGN_IN = ["log in", "log into", "logging in", "sign in", "sign into", "signing in", "access your account"]
_STEPS = {  # what an answer has to say, by the customer's request
    "cancel_order": [_SIGN_IN, ["cancel order", "cancel purchase", "cancel button", "cancel option"]],
    "recover_password": [
        ["login page"],
        [
            f"{word} {thing}"
            for word in ("forgot", "reset", "recover")
            for thing in ("password", "pin", "key")
        ],
    ],
    "delivery_period": [
        _SIGN_IN,
        ["order history", "order details", "my orders", "track order"],
        ["delivery date", "delivery time", "delivery status", "shipping status", "estimated"],
    ],
}

_GIVEN: dict[str, Callable[[Label, Path], str | None]] = {
    "closed_accuracy": _yes_or_no,
    "recommendation_accuracy": _level,
}
_JUDGES: dict[str, Judge] = {
    "violation_rate": _rule,
    "over_refusal_rate": _refusal,
    "contradiction": _metric,
    "number_fidelity": _metric,
    "placeholder_fidelity": _metric,
    "language_fidelity": _metric,
    "locale_form": _metric,
    "glossary_adherence": _metric,
    "resolution_rate": _metric,
    "slot_accuracy": _metric,
    "final_number": _metric,
    "label_set_f1": _named,
    "citation_fidelity": _cites,
    "hand_over_rate": _sends_on,
}


def _text(label: Label, data: Path) -> str:
    value: Any = _read(data / label["file"])[label["row"]]
    for part in label["at"].split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    if "line" in label:  # one turn of a dialogue: "Doctor: ..."
        value = value.splitlines()[label["line"]].partition(":")[2].strip()
    return str(value).partition(label["until"])[0] if "until" in label else str(value)


@cache
def _policy(case: str) -> Policy:
    return load_policy(ROOT / "recipes" / case / "policy.yaml")


@cache
def _read(path: Path) -> list[dict[str, Any]]:
    return list(_lines(path))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines)


def _source(label: Label) -> str:
    if "line" in label:
        return "doctors' turns (MTS-Dialog)"
    if "against_at" in label or "slot" in label:
        return "hetPQA answers and what they rest on"
    if label["metric"] == "closed_accuracy":
        return "hetPQA answers to questions of yes or no"
    return {
        "finance_multidogo_en.jsonl": "MultiDoGO turns",
        "finance_cfpb_regs_en.jsonl": "CFPB regulations",
        "finance_obliqa_en.jsonl": "ADGM rules (ObliQA)",
        "medical_medquad_en.jsonl": "MedQuAD articles",
        "medical_mtsdialog_en.jsonl": "clinical notes (MTS-Dialog)",
        "ecom_bitext_en.jsonl": "Bitext answers",
        "ecom_mschitchat_multi.jsonl": "small talk, 3 languages",
        "ecom_hetpqa_en.jsonl": "pairs of hetPQA answers",
        "ecom_bagisto_parallel_en_fr_es.jsonl": "bagisto texts, French and Spanish",
        "eval_gsm8k_en.jsonl": "solutions of GSM8K",
    }[label["file"]]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    print(table(measure(parser.parse_args().data)))
