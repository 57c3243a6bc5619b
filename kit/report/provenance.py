"""Where the numbers come from: data, response time, conditions, environment, hashes."""

from functools import partial
from pathlib import Path
from typing import Any

from kit.report import plots
from kit.report.formatting import (
    NONE,
    count,
    estimate,
    number,
    plural,
    quantity,
    signature,
)
from kit.report.plots import Range, Row
from kit.report.read import Inputs, Json
from kit.report.view import CheckRow, Conditions, DataCard, Latency, SourceRow
from kit.report.view_evidence import Figure, MaskAudit


def data_card(data: Json, mask: MaskAudit) -> DataCard:
    """The prepared data's sources, checks and counts, and what the model learned from it."""
    rows, tokens = data["rows"], data.get("tokens") or {}
    facts = [
        ("Rows read", count(rows["read"])),
        ("Rows rejected", f"{count(rows['rejected'])} ({share(rows['rejected'], rows['read'])})"),
        (
            "Train / validation / test",
            f"{count(rows['train'])} / {count(rows['valid'])} / {count(rows['test'])}",
        ),
    ]
    if tokens:
        spread = (count(tokens.get("median")), count(tokens.get("p95")), count(tokens.get("max")))
        facts.append(("Tokens: median / p95 / longest", " / ".join(spread)))
        facts.append(("Tokens the model learns from", quantity(tokens.get("supervised_share"), "rate")))
    sources = [
        SourceRow(
            s["name"],
            s.get("format", ""),
            count(s.get("rows")),
            bool(s.get("synthetic")),
            s["sha256"],
        )
        for s in data["sources"]
    ]
    checks = [CheckRow(c["name"], c["what"], c["severity"], count(c["count"])) for c in data["checks"]]
    return DataCard(data["fingerprint"], sources, checks, facts, mask)


def latency(scores: Json) -> Latency | None:
    """Response time with the speed-up taken apart; None where it was not measured."""
    found = scores.get("latency")
    if not found or not found.get("base") or not found.get("tuned"):
        return None
    base, tuned = found["base"], found["tuned"]
    measured = [
        ("Time to first token, median", "seconds_to_first_token", "p50", "s"),
        ("Time to first token, 95th percentile", "seconds_to_first_token", "p95", "s"),
        ("Whole answer, median", "seconds", "p50", "s"),
        ("Whole answer, 95th percentile", "seconds", "p95", "s"),
        ("Tokens a second, median", "tokens_per_second", "p50", ""),
        ("Tokens an answer, median", "new_tokens", "p50", ""),
    ]
    rows = [
        (label, _measured(base, part, at, unit), _measured(tuned, part, at, unit))
        for label, part, at, unit in measured
    ]
    return Latency(rows, _speed_sentence(scores), _how_timed(scores), _latency_figure(base, tuned))


def conditions(inputs: Inputs, evaluation: Path) -> Conditions:
    """What both systems were asked under, and everything needed to find it again."""
    asked = inputs.scores.get("conditions") or {}
    base, tuned = asked.get("base") or {}, asked.get("tuned") or {}
    manifest, environment = inputs.manifest, inputs.manifest.get("environment") or {}
    packages = environment.get("packages") or {}
    return Conditions(
        rows=[
            (key.replace("_", " "), _plain(base.get(key)), _plain(tuned.get(key)))
            for key in {**base, **tuned}
        ],
        mismatches=[_plain(mismatch) for mismatch in asked.get("mismatches") or []],
        environment=[
            *(
                (key.replace("_", " "), _plain(value))
                for key, value in environment.items()
                if key != "packages"
            ),
            ("packages", ", ".join(f"{name} {found}" for name, found in packages.items()) or NONE),
        ],
        hashes=[
            ("evaluation", evaluation.name),
            ("run", manifest["run"]),
            ("base model", manifest["model"].get("sha256") or NONE),
            ("data fingerprint", manifest["data"].get("fingerprint") or NONE),
            ("data", manifest["data"].get("sha256") or NONE),
            ("configuration", manifest.get("config_sha256") or NONE),
        ],
    )


def _speed_sentence(scores: Json) -> str:
    """What the times show: a change and where it comes from, or that they show none."""
    found = scores["latency"]
    verdicts = [m["verdict"] for m in scores["metrics"] if m["name"] == "response_time"]
    verdict = verdicts[0] if verdicts else "not shown"
    speed = f"{estimate(found['speedup'], 'factor')} as fast"
    if verdict == "not shown":
        return f"No change is shown: {speed}, and chance alone could explain it."
    parts = found["decomposition"]
    sentence = (
        f"The tuned model answers {'faster' if verdict == 'improved' else 'more slowly'}: {speed}. "
        f"Of that, {quantity(parts['length'], 'factor')} comes from the length of its answers and "
        f"{quantity(parts['per_token'], 'factor')} from the time each token takes."
    )
    adapter = scores["conditions"]["tuned"].get("adapter") or "none"
    if "not merged" in adapter:
        sentence += " Its adapter ran beside the base; merged, it would cost no time of its own."
    return sentence


def _how_timed(scores: Json) -> str:
    found = scores["latency"]
    alone = found.get("order") == "alone"
    order = "base and tuned in turn"
    if alone:
        order = "first all of base, then all of tuned, so a machine that changed its pace counts as theirs"
    how = f"Measured on {plural(found['tuned']['n'], 'prompt')}, one at a time, {order}."
    if found.get("left_out"):
        lost = plural(found["left_out"], "more prompt")
        how += f" Left out: {lost}, to which an answer was empty or cut."
    return how


def _latency_figure(base: Json, tuned: Json) -> Figure | None:
    named = (("First token", "seconds_to_first_token"), ("Whole answer", "seconds"))
    rows = [Row(label, "", _spread(base, part), _spread(tuned, part)) for label, part in named]
    if not any(row.base or row.tuned for row in rows):
        return None
    title = "Response time: median (dot) and 95th percentile (end of the line), base and tuned"
    return plots.figure(partial(plots.latency_plot, rows, title))


def _spread(measured: Json, part: str) -> Range | None:
    values = measured.get(part) or {}
    if values.get("p50") is None or values.get("p95") is None:
        return None
    return Range(values["p50"], values["p50"], values["p95"], quantity(values["p50"], "seconds"))


def _measured(system: Json, part: str, at: str, unit: str) -> str:
    value = (system.get(part) or {}).get(at)
    return quantity(value, "seconds") if unit == "s" else number(value)


def share(part: int | None, whole: int | None) -> str:
    """A part of a whole in per cent; a dash where either is not known."""
    return quantity(part / whole, "rate") if part is not None and whole else NONE


def _plain(value: Any) -> str:
    """A setting as a reader wants it: hashes short, absent values as a dash, nested ones flat."""
    if value is None:
        return NONE
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(part)}" for key, part in value.items()) or NONE
    if isinstance(value, list):
        return ", ".join(_plain(part) for part in value) or NONE
    text = str(value)
    is_hash = len(text) == 64 and all(char in "0123456789abcdef" for char in text)
    return signature(text) if is_hash else text
