"""How bad what went wrong is: the answers of each system by the worst rule they break."""

from dataclasses import dataclass

from kit.report.formatting import count
from kit.report.read import Json


@dataclass(frozen=True)
class HarmRow:
    """One level of harm and how many greedy answers reach it and no worse one."""

    metric: str
    level: str
    base: str
    tuned: str


def harm_rows(scores: Json) -> list[HarmRow]:
    """Every metric that judges by rules: the answers by level, the worst first, then those without any."""
    rows = []
    for metric in scores["metrics"]:
        if metric["decoding"] != "greedy" or not metric.get("severities"):
            continue
        by_system = {system: _by_level(metric["severities"], system) for system in ("base", "tuned")}
        called = metric.get("harm") or {}
        for level in by_system["base"]:
            found = (count(by_system[system][level]) for system in ("base", "tuned"))
            rows.append(HarmRow(metric["label"], called.get(level, level), *found))
    return rows


def _by_level(severities: Json, system: str) -> dict[str, int]:
    """Severity -> answers whose worst rule has it; the counts of `scores.json` add up from the worst on."""
    levels, worse = {}, 0
    for severity, systems in severities.items():
        found = systems[system]["found"]
        levels[severity], worse = found - worse, found
    asked = max(systems[system]["n"] for systems in severities.values())
    return {**levels, "none": asked - worse}
