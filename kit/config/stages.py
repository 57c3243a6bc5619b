"""Several stages in turn (`train.stages`): each is checked, and trained, as if it were the only one.

A stage's own settings lie over those of `train`, and what `train.preference` says for all is for those that
learn from preferences. So everything that knows one stage knows them all.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar, get_args

from pydantic import ValidationError

from kit.config.checks import check_across_sections
from kit.config.explain import Finding, dotted, explain, unknown_choice
from kit.config.methods import WHOLE
from kit.config.preference import LOSSES
from kit.config.schema import Config
from kit.config.schema_train import Stage, Train
from kit.config.tree import Tree, mapping_at
from kit.config.yaml_lines import Key

Place = TypeVar("Place")

OF_SOME = {"preference": tuple(LOSSES), "grpo": ("grpo",)}
"""Settings of `train` that are for these stages alone; the others of a chain do not look at them."""
_STAGES: Key = ("train", "stages")


def stage_configs(config: Config) -> list[Config]:
    """The settings of every stage in turn, each with `train.stage` and without `train.stages`."""
    if not config.train.stages:
        return [config]
    train = config.train.model_dump(mode="json")
    return [
        config.model_copy(update={"train": Train.model_validate(alone)})
        for alone in (_train_alone(train, use.model_dump(mode="json")) for use in config.train.stages)
    ]


def origins_of_stage(origins: Mapping[Key, Place], number: int) -> dict[Key, Place]:
    """Where the settings of one stage were set, by their keys in `stage_configs`; stages count from 0."""
    own: Key = (*_STAGES, number)
    inside = {("train", *key[3:]): place for key, place in origins.items() if key[:3] == own and key[3:]}
    named = inside.pop(("train", "name"), None) or origins.get(own) or origins.get(_STAGES)
    rest = {key: place for key, place in origins.items() if key[:2] != _STAGES}
    return {**rest, **inside, **({("train", "stage"): named} if named else {})}


def check_with_stages(tree: Tree, refused: Collection[Key]) -> list[Finding]:
    """What `check_across_sections` finds, where there are several stages for each of them, and what is wrong
    with their order or names. Arguments as there.

    What one stage has against a setting that all share says which stage it is; what it has against data
    counts only if all have, for a source need serve but one.
    """
    named = _named(tree)
    if named is None:
        return [*check_across_sections(tree, refused), *_sources(tree, [_single(tree)])]
    if not named:  # the schema says what is wrong with them; what is for some stages cannot be judged
        train = {key: value for key, value in tree["train"].items() if key not in OF_SOME}
        return check_across_sections({**tree, "train": train}, refused)
    names = [str(own["name"]) for own in named]
    found: dict[tuple[Key, str], list[tuple[str, Finding]]] = {}
    for number, own in enumerate(named):
        for finding in _alone(tree, own, refused, continues=number > 0):
            placed = _placed(finding, number, own)
            of_data = placed.key[:1] == ("data",)  # said of each stage in its own words
            same = (placed.key, "" if of_data else placed.message)
            found.setdefault(same, []).append((names[number], placed))
    shared = [_told(findings, len(names)) for findings in found.values()]
    return [
        *filter(None, shared),
        *_order(tree, named, names),
        *_sources(tree, names),
    ]


def _named(tree: Tree) -> list[Tree] | None:
    """The stages as mappings with a `name`; none where the schema refuses them, None without a chain."""
    stages = mapping_at(tree, "train").get("stages")
    if stages is None or stages == []:
        return None
    listed = stages if isinstance(stages, list) else []
    named = [{"name": one} if isinstance(one, str) else one for one in listed]
    sound = all(isinstance(one, dict) and one.get("name") in get_args(Stage) for one in named)
    return named if sound else []


def _single(tree: Tree) -> str:
    return str(mapping_at(tree, "train").get("stage", Train().stage))


def _train_alone(train: Tree, own: Tree) -> Tree:
    """`train` as the settings of one stage."""
    name = own["name"]
    kept = {
        key: value
        for key, value in train.items()
        if key not in ("stage", "stages") and name in OF_SOME.get(key, (name,))
    }
    mine = {key: value for key, value in own.items() if key not in ("name", "stage", "stages")}
    return {**_merged(kept, mine), "stage": name}


def _merged(under: Tree, over: Tree) -> Tree:
    both = dict(under)
    for key, value in over.items():
        below = both.get(key)
        both[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return both


def _alone(tree: Tree, own: Tree, refused: Collection[Key], continues: bool) -> list[Finding]:
    """What is wrong with a project of this stage alone, but what the schema said already.

    Args:
        continues: whether a stage stands before it.
    """
    alone = {**tree, "train": _train_alone(tree["train"], own)}
    findings: list[Finding] = []
    try:
        Config.model_validate(alone)
    except ValidationError as error:
        findings = [finding for finding in explain(error) if finding.key not in refused]
    known = [*refused, *(finding.key for finding in findings)]
    across = check_across_sections(alone, known, continues)
    return [*findings, *across]


def _placed(finding: Finding, number: int, own: Tree) -> Finding:
    """The finding at the stage's own setting, if it is about one."""
    key = finding.key
    if key[:1] != ("train",) or len(key) < 2 or key[1] not in own:
        return finding
    placed: Key = (*_STAGES, number, *key[1:])
    message = finding.message.replace(f"`{dotted(key)}", f"`{dotted(placed)}")
    return replace(finding, key=placed, message=message)


def _told(findings: list[tuple[str, Finding]], stages: int) -> Finding | None:
    """One finding for all stages that have it; None where some have none and one is enough."""
    _, finding = findings[0]
    if len(findings) == stages or finding.key[:2] == _STAGES:
        return finding
    if finding.key[:1] == ("data",):
        return None
    names = " and ".join(name for name, _ in findings)
    own = "or set it for a stage in `train.stages`" if finding.key[:1] == ("train",) else ""
    hint = "; ".join(filter(None, (finding.hint, own)))
    return replace(finding, message=f"{finding.message} (stage {names})", hint=hint)


def _order(tree: Tree, named: list[Tree], names: list[str]) -> Iterator[Finding]:
    if "stage" in tree["train"]:
        message = "`train.stages` is set, and so is `train.stage`"
        yield Finding(_STAGES, message, "keep one of them", needs_rest=True)
    for number, name in enumerate(names):
        key: Key = (*_STAGES, number)
        if name in names[:number]:
            message = f"`{dotted(key)}`: the stage {name} is named twice"
            yield Finding(key, message, "name it once: a later run of it can be a project of its own")
        for setting in sorted({"stage", "stages"} & set(named[number])):
            message = f"unknown key `{dotted((*key, setting))}`"
            yield Finding((*key, setting), message, "a stage is named by `name`")
    method = mapping_at(tree, "method").get("name", Config().method.name)
    if "reward" in names[:-1]:
        message = "`train.stages`: after `reward` nothing can go on: its model scores answers and gives none"
        yield Finding(_STAGES, message, "name it last")
    if "reward" in names[1:] and method not in WHOLE:
        message = f"`train.stages`: an adapter of {names[0]} cannot become that of a reward model"
        hint = f"set method to {' or '.join(WHOLE)}, or train `reward` alone from the base"
        yield Finding(_STAGES, message, hint, needs_rest=True)


def _sources(tree: Tree, names: list[str]) -> Iterator[Finding]:
    """Sources that name a stage which the project has not."""
    sources = mapping_at(tree, "data").get("sources")
    for index, source in enumerate(sources if isinstance(sources, list) else []):
        wanted = source.get("stages") if isinstance(source, dict) else None
        for place, stage in enumerate(wanted if isinstance(wanted, list) else []):
            if stage in get_args(Stage) and stage not in names:
                yield unknown_choice(("data", "sources", index, "stages", place), "stage", str(stage), names)
