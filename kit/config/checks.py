"""Checks that need more than one section: names that must exist elsewhere, names that must differ.

They read the merged tree rather than the validated `Config`, so that a user meets these problems in
the same list as the schema's, not after having mended those. Names that the schema refused count as
unknown, not as absent: nothing that refers to them is called wrong.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from kit.config.engine import check_engine
from kit.config.explain import Finding, dotted, nearest, unknown_choice
from kit.config.grpo import check_grpo
from kit.config.hardware import check_hardware
from kit.config.labour import Labour
from kit.config.methods import USED_BY, check_method
from kit.config.preference import check_preference
from kit.config.ranges import RANGES, check_threshold
from kit.config.schema_train import Train
from kit.config.support import check_support
from kit.config.tree import Tree
from kit.config.worst import check_drawn_judged, check_worst_of
from kit.config.yaml_lines import Key


def check_across_sections(tree: Tree, refused: Collection[Key], continues: bool = False) -> list[Finding]:
    """Every reference from one section to another that leads nowhere, and every name given twice.

    Args:
        tree: all layers, merged.
        refused: the keys at which the schema found something wrong.
        continues: whether the stage goes on from an earlier one.
    """
    settings = _Settings(tree, refused)
    return [
        *_tier(settings),
        *_metrics(settings),
        *_gates(settings),
        *_worst(settings),
        *_thresholds(settings),
        *_general(settings),
        *_languages(settings),
        *_documents(settings),
        *_adapter(settings),
        *check_preference(tree),
        *_grpo(settings),
        *check_method(tree),
        *check_engine(tree),
        *_launch([*check_support(tree, continues), *check_hardware(tree)]),
    ]


def _launch(findings: list[Finding]) -> Iterator[Finding]:
    """Of `hardware` one finding a setting, and the batch only where nothing else is wrong there: what does
    not fit what has to change anyway is no second error."""
    of_hardware = dict.fromkeys(finding.key for finding in findings if finding.key[0] == "hardware")
    said: set[Key] = set()
    for finding in findings:
        shared_out = finding.key == ("train", "global_batch_size")
        if not (finding.key in said or (shared_out and of_hardware)):
            yield finding
        if finding.key in of_hardware:
            said.add(finding.key)


@dataclass(frozen=True)
class _Settings:
    tree: Tree
    refused: Collection[Key]

    def get(self, *path: str) -> Any:
        value: Any = self.tree
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def stands(self, *path: str) -> bool:
        """Whether the names at `path` are known: nothing is wrong above them, with an item or its name."""
        inside = len(path)
        return not any(
            key == path[: len(key)]
            or (key[:inside] == path and (len(key) == inside + 1 or key[-1] == "name"))
            for key in self.refused
        )

    def texts(self, *path: str) -> list[tuple[int, str]]:
        """The texts of a list with their positions; the schema refuses whatever else is in it."""
        entries = self.get(*path)
        texts = enumerate(entries if isinstance(entries, list) else [])
        return [(index, entry) for index, entry in texts if isinstance(entry, str)]

    def mappings(self, *path: str) -> list[tuple[int, Tree]]:
        """The mappings of a list with their positions."""
        entries = self.get(*path)
        items = enumerate(entries if isinstance(entries, list) else [])
        return [(index, entry) for index, entry in items if isinstance(entry, dict)]

    @property
    def metrics(self) -> list[tuple[int, str]]:
        """The metrics of `evaluate` with their positions."""
        named = [(index, entry.get("name")) for index, entry in self.mappings("evaluate", "metrics")]
        named += self.texts("evaluate", "metrics")
        return sorted((index, name) for index, name in named if isinstance(name, str))


def _tier(settings: _Settings) -> Iterator[Finding]:
    chosen, offered = settings.get("tier"), settings.get("tiers")
    names = sorted(offered) if isinstance(offered, dict) else []
    if settings.stands("tiers") and chosen is not None and chosen not in names:
        yield unknown_choice(("tier",), "tier", str(chosen), names)
    for name in names:
        inside = settings.get("tiers", name, "settings")
        for key in ("tier", "tiers"):
            if isinstance(inside, dict) and key in inside:
                place: Key = ("tiers", name, "settings", key)
                yield Finding(place, f"`{dotted(place)}`: a tier cannot choose or change tiers", "remove it")


def _metrics(settings: _Settings) -> Iterator[Finding]:
    yield from _metrics_given_twice(settings)
    if settings.stands("evaluate", "metrics"):
        found = list(_unmeasured(settings))
        can_be_listed = RANGES.keys() - {"judge", "response_time"}
        known = [(finding, name) for finding, name in found if name in can_be_listed]
        if len(known) < 2 or settings.get("evaluate", "metrics") is None:
            known = []
        yield from _not_listed(known, [name for _, name in settings.metrics])
        yield from (finding for finding, name in found if (finding, name) not in known)


def _not_listed(known: list[tuple[Finding, str]], listed: list[str]) -> Iterator[Finding]:
    """One finding for several metrics of the kit's that are named, rightly spelled, and not listed: it is the
    list that was replaced."""
    if not known:
        return
    named: dict[str, list[str]] = {}
    for finding, name in known:
        named.setdefault(name, []).append(dotted(finding.key))
    each = "; ".join(f"{name} ({', '.join(keys)})" for name, keys in named.items())
    where = dict.fromkeys(dotted(finding.key).partition("[")[0] for finding, _ in known)
    meant = [
        f"`{name}`: did you mean `{near}`?"
        for name in listed
        if name not in RANGES and (near := nearest(name, RANGES))
    ]
    hint = f"list them, or set {' and '.join(where)} for those that are measured"
    yield Finding(
        ("evaluate", "metrics"),
        f"`evaluate.metrics` does not list metrics that other settings name: {each}",
        "; ".join([*meant, hint]),
        needs_rest=True,
    )


def _unmeasured(settings: _Settings) -> Iterator[tuple[Finding, str]]:
    """Every place that names a metric which is not measured, with its name."""
    evaluated = [name for _, name in settings.metrics]
    golden = settings.get("train", "golden_metric")
    if isinstance(golden, str) and golden not in evaluated:
        yield _not_measured(("train", "golden_metric"), golden, evaluated), golden
    labour = settings.get("labour")
    if isinstance(labour, dict):
        contained = labour.get("contained", Labour.model_fields["contained"].default)
        if isinstance(contained, str) and contained not in evaluated:
            yield _not_measured(("labour", "contained"), contained, evaluated), contained
    if not settings.stands("evaluate", "latency_prompts"):
        return
    known = evaluated if settings.get("evaluate", "latency_prompts") == 0 else [*evaluated, "response_time"]
    if settings.get("evaluate", "judge") is not None:
        known = [*known, "judge"]
    for section in ("gates", "claims"):
        for index, entry in settings.mappings(section):
            metric = entry.get("metric")
            of_the_case = entry.get("on") is None
            if of_the_case and isinstance(metric, str) and metric not in known:
                yield _not_measured((section, index, "metric"), metric, known), metric


def _not_measured(key: Key, name: str, known: list[str]) -> Finding:
    """A metric that `evaluate.metrics` does not list, which another layer may have set since."""
    return replace(unknown_choice(key, "metric", name, known), beside=("evaluate", "metrics"))


def _thresholds(settings: _Settings) -> Iterator[Finding]:
    for section in ("gates", "claims"):
        for index, entry in settings.mappings(section):
            yield from check_threshold((section, index), entry)


def _metrics_given_twice(settings: _Settings) -> Iterator[Finding]:
    # The judge's figures have this name, where there is one.
    first: dict[str, int] = {"judge": -1} if settings.get("evaluate", "judge") is not None else {}
    for index, name in settings.metrics:
        if first.setdefault(name, index) != index:
            key: Key = ("evaluate", "metrics", index)
            yield Finding(
                key,
                f"`{dotted(key)}`: the metric {name!r} is given twice",
                "keep one: gates and reports tell metrics apart by name; another use needs a metric of its "
                "own name in the project's hooks",
            )


def _gates(settings: _Settings) -> Iterator[Finding]:
    gates = settings.mappings("gates")
    slices = [column for _, column in settings.texts("data", "slices")]
    first: dict[str, int] = {}
    unsampled = settings.get("evaluate", "sampling", "enabled") is False
    for index, gate in gates:
        worst, name = gate.get("worst"), gate.get("name")
        if settings.stands("data", "slices") and isinstance(worst, str) and worst not in slices:
            yield unknown_choice(("gates", index, "worst"), "slice", worst, slices)
        if gate.get("decoding") == "sampled" and unsampled:
            yield Finding(
                ("gates", index, "decoding"),
                f"gate {name!r} looks at sampled answers, but none are drawn",
                "set evaluate.sampling.enabled to true, or the gate's decoding to greedy",
                needs_rest=True,
            )
        if isinstance(name, str) and first.setdefault(name, index) != index:
            yield Finding(
                ("gates", index, "name"),
                f"more than one gate is called {name!r}",
                "give each gate a name of its own",
            )


def _worst(settings: _Settings) -> Iterator[Finding]:
    answers = settings.get("evaluate", "sampling", "answers") or 1
    yield from check_worst_of(settings.mappings("gates"), answers)
    yield from check_drawn_judged(settings.get("evaluate", "judge"), answers)


def _general(settings: _Settings) -> Iterator[Finding]:
    """General sets whose names stand twice, and gates on sets or metrics that are not there."""
    if not (settings.stands("evaluate", "general") and settings.stands("evaluate", "harness")):
        return
    tasks = [task for _, task in settings.texts("evaluate", "harness")]
    tasks += [str(task.get("name")) for _, task in settings.mappings("evaluate", "harness")]
    measured: dict[str, list[str]] = {}
    for index, entry in settings.mappings("evaluate", "general"):
        name, listed = str(entry.get("name")), entry.get("metrics")
        metrics = [use.get("name") if isinstance(use, dict) else use for use in listed or []]
        if name in measured or name in tasks:
            key: Key = ("evaluate", "general", index, "name")
            yield Finding(
                key, f"more than one general set or task is called {name!r}", "give each a name of its own"
            )
        measured[name] = [metric for metric in metrics if isinstance(metric, str)]
    for index, gate in settings.mappings("gates"):
        on, metric = gate.get("on"), gate.get("metric")
        if not isinstance(on, str) or on in tasks:  # what a task measures, only the harness knows
            continue
        if on not in measured:
            yield unknown_choice(("gates", index, "on"), "general set", on, [*measured, *tasks])
        elif isinstance(metric, str) and metric not in measured[on]:
            yield unknown_choice(("gates", index, "metric"), "metric", metric, measured[on])


def _documents(settings: _Settings) -> Iterator[Finding]:
    stage = settings.get("train", "stage") or Train().stage
    if stage == "pretrain" or not settings.stands("train", "stage"):
        return
    for index, source in settings.mappings("data", "sources"):
        if source.get("format") == "text":
            yield Finding(
                ("data", "sources", index, "format"),
                f"documents (`format: text`) have no answers to learn, and `train.stage` is {stage}",
                "set train.stage to pretrain, which learns every token, or bring dialogues",
                needs_rest=True,
            )


def _adapter(settings: _Settings) -> Iterator[Finding]:
    method = settings.get("method", "name")
    if isinstance(method, str) and method not in USED_BY["target_modules"]:
        return
    layers = settings.get("method", "target_modules")
    if "lm_head" in (layers if isinstance(layers, list) else [layers]):
        yield Finding(
            ("method", "target_modules"),
            "`method.target_modules` names lm_head, whose adapter would not be trained: losses are computed "
            "from its weights directly",
            "take lm_head out of the list",
            needs_rest=True,
        )


def _grpo(settings: _Settings) -> list[Finding]:
    if not (settings.stands("evaluate", "metrics") and settings.stands("train", "stage")):
        return []
    return check_grpo(settings.tree, [name for _, name in settings.metrics])


def _languages(settings: _Settings) -> Iterator[Finding]:
    if not settings.stands("recipe", "languages"):
        return
    offered = [language for _, language in settings.texts("recipe", "languages")] or ["en"]
    for index, language in settings.texts("project", "languages"):
        if language not in offered:
            yield unknown_choice(("project", "languages", index), "language", language, offered)
