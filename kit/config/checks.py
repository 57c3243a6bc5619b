"""Checks that need more than one section: names that must exist elsewhere.

They read the merged tree rather than the validated `Config`, so that a user meets these problems in
the same list as the schema's, not after having mended those.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from kit.config.explain import Finding, unknown_choice

Tree = dict[str, Any]


def check_across_sections(tree: Tree) -> list[Finding]:
    """Every reference from one section to another that leads nowhere."""
    return [*_tier(tree), *_metrics(tree), *_gates(tree), *_languages(tree)]


def _tier(tree: Tree) -> Iterator[Finding]:
    chosen, offered = tree.get("tier"), tree.get("tiers")
    names = sorted(offered) if isinstance(offered, dict) else []
    if chosen is not None and chosen not in names:
        yield unknown_choice(("tier",), "tier", str(chosen), names)


def _metrics(tree: Tree) -> Iterator[Finding]:
    evaluated = _names(_get(tree, "evaluate", "metrics"))
    golden = _get(tree, "train", "golden_metric")
    if golden is not None and golden not in evaluated:
        yield unknown_choice(("train", "golden_metric"), "metric", str(golden), evaluated)
    for section in ("gates", "claims"):
        for index, entry in _mappings(_get(tree, section)):
            metric = entry.get("metric")
            if metric is not None and metric not in (*evaluated, *_timed(tree)):
                yield unknown_choice(
                    (section, index, "metric"), "metric", str(metric), [*evaluated, *_timed(tree)]
                )


def _gates(tree: Tree) -> Iterator[Finding]:
    gates = list(_mappings(_get(tree, "gates")))
    slices = [str(column) for column in _list(_get(tree, "data", "slices"))]
    counts = Counter(str(gate.get("name")) for _, gate in gates)
    for index, gate in gates:
        worst = gate.get("worst")
        if worst is not None and worst not in slices:
            yield unknown_choice(("gates", index, "worst"), "slice", str(worst), slices)
        if gate.get("decoding") == "sampled" and _get(tree, "evaluate", "sampling", "enabled") is False:
            yield Finding(
                ("gates", index, "decoding"),
                f"gate {gate.get('name')!r} looks at sampled answers, but none are drawn",
                "set evaluate.sampling.enabled to true, or the gate's decoding to greedy",
            )
        if counts[str(gate.get("name"))] > 1:
            yield Finding(
                ("gates", index, "name"),
                f"more than one gate is called {gate.get('name')!r}",
                "give each gate a name of its own",
            )


def _languages(tree: Tree) -> Iterator[Finding]:
    offered = [str(language) for language in _list(_get(tree, "recipe", "languages"))] or ["en"]
    for index, language in enumerate(_list(_get(tree, "project", "languages"))):
        if language not in offered:
            yield unknown_choice(("project", "languages", index), "language", str(language), offered)


def _timed(tree: Tree) -> list[str]:
    return [] if _get(tree, "evaluate", "latency_prompts") == 0 else ["response_time"]


def _get(tree: Any, *path: str) -> Any:
    for part in path:
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def _list(entries: Any) -> list[Any]:
    """A list as it is; anything else is the schema's to refuse."""
    return entries if isinstance(entries, list) else []


def _mappings(entries: Any) -> Iterator[tuple[int, Tree]]:
    for index, entry in enumerate(_list(entries)):
        if isinstance(entry, dict):
            yield index, entry


def _names(entries: Any) -> list[str]:
    names = [entry.get("name") if isinstance(entry, dict) else entry for entry in _list(entries)]
    return [str(name) for name in names if name is not None]
