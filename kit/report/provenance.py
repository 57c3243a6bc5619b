"""Where the numbers come from: data, conditions, environment, hashes."""

from pathlib import Path
from typing import Any

from kit.report.formatting import (
    NONE,
    count,
    quantity,
    signature,
)
from kit.report.read import Inputs, Json
from kit.report.view_evidence import MaskAudit
from kit.report.view_origin import CheckRow, Conditions, DataCard, SourceRow


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


def conditions(inputs: Inputs, evaluation: Path) -> Conditions:
    """What both systems were asked under, and everything needed to find it again."""
    asked = inputs.scores.get("conditions") or {}
    base, tuned = asked.get("base") or {}, asked.get("tuned") or {}
    manifest = inputs.manifest or {}
    environment = manifest.get("environment") or {}
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
        ]
        if manifest
        else [],
        hashes=_hashes(inputs, evaluation),
    )


def _hashes(inputs: Inputs, evaluation: Path) -> list[tuple[str, str]]:
    """What to compare files on disk with: of the run, or of the answers that were given."""
    manifest = inputs.manifest
    if manifest is None:
        return list(inputs.scores["files"].items())
    return [
        ("evaluation", evaluation.name),
        ("run", manifest["run"]),
        ("base model", manifest["model"].get("sha256") or NONE),
        ("data fingerprint", manifest["data"].get("fingerprint") or NONE),
        ("data", manifest["data"].get("sha256") or NONE),
        ("configuration", manifest.get("config_sha256") or NONE),
    ]


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
