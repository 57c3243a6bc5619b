"""Whether a report is true: every number made again from the saved answers, every page from the numbers.

Three links are tried: today's files and settings against those that the report records, `scores.json`
against the answers, and the report's files against `scores.json`. So an edit anywhere between the answers and
the page shows, and what it changed. What nobody can see here is an evaluation that was made up from its
beginning: who signs the commit vouches for that.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.config.errors import CasekitError, DataError, Problem
from kit.config.explain import dotted
from kit.config.gates import Gate
from kit.config.schema import Config
from kit.config.show import leaves
from kit.evaluate.predictions import Key, key_of
from kit.files import sha256_file
from kit.hooks import Hooks
from kit.report.baseline import read_baseline
from kit.report.build import make_faces
from kit.report.differences import Difference, changed_lines, changed_values
from kit.report.formatting import plural
from kit.report.read import Json, read_inputs, read_report
from kit.report.record import Beside, Made, input_files
from kit.report.reviews import FILE as REVIEWS
from kit.report.reviews import from_report, read_reviews
from kit.report.sources import Sources

_JUDGING = ("gates", "claims", "labour", "evaluate", "languages", "report")
"""The settings that a verdict rests on; others, such as a title, may change after a release."""
_NAMED = ("gates", "claims")
"""Lists whose entries are known by their name."""
_JUDGING_REPORT = ("baseline", "tolerance", "tolerances")
"""Of the settings under `report`; licences judge nothing."""


@dataclass(frozen=True)
class Verified:
    """What verifying found: everything that differs, and what could not be compared."""

    differences: list[Difference]
    notes: list[str]


def verify_report(folder: Path, root: Path, today: Callable[[Path], Config], hooks: Hooks) -> Verified:
    """Make a report again and compare; nothing is written.

    Args:
        folder: the report's.
        root: the project.
        today: for the run's folder, the project's settings as they are now, with the run's own model.
        hooks: the project's own metrics.

    Raises:
        DataError: files of the report, or files that it was made from, are absent or cannot be read.
    """
    report = read_report(folder)
    _refuse_absent(report, folder, root)
    recorded = _recorded(folder)
    sources = _sources(report, root, recorded, folder)
    differences = [*_changed_inputs(report, sources), *_changed_faces(report, folder)]
    differences += _changed_settings(recorded[0], today(sources.run))
    differences += _lost_reviews(report, root)
    differences += _changed_weights(report, sources.run / "golden")
    inputs = read_inputs(sources.evaluation, sources.run, sources.prepared)
    try:
        differences += _changed_scores(inputs.scores, sources, hooks)
        made = make_faces(sources, inputs, _beside(report, sources))
    except CasekitError as error:
        if not differences:
            raise
        found = "; ".join(str(problem) for problem in error.problems)
        return Verified([*differences, Difference("the report", f"cannot be made again: {found}")], [])
    written = json.loads(made.texts["report.json"])
    differences += changed_values("report.json", _comparable(report), _comparable(written))
    return _with_pages(differences, report, made, folder)


def _changed_weights(report: Json, golden: Path) -> Iterator[Difference]:
    """The tuned weights, where they are there and no longer those that answered."""
    from kit.models.loading import weights_sha256

    if not any(golden.glob("*.safetensors")):
        return
    then = report["conditions"]["tuned"]["weights"]
    now = weights_sha256(golden)[: len(then)]
    if now != then:
        yield Difference(
            f"{golden.parent.name}/golden", "holds other weights than those that answered", then, now
        )


def _with_pages(differences: list[Difference], report: Json, made: Made, folder: Path) -> Verified:
    """Beside the numbers the pages, which only the casekit that wrote them makes byte for byte."""
    if report["made_with"] != made.report["made_with"]:
        own, this = (
            f"{made_with['kit_version']}, files {made_with['kit_sha256'][:8]}"
            for made_with in (report["made_with"], made.report["made_with"])
        )
        note = (
            f"the report was made by another casekit ({own}; this one is {this}): all numbers "
            "were made again, but its pages were compared with their recorded hashes only"
        )
        return Verified(differences, [note])
    for name, text in made.texts.items():
        if name != "report.json":
            stored = (folder / name).read_text(encoding="utf-8", errors="replace")
            differences += changed_lines(name, stored, text)
    return Verified(differences, [])


def _refuse_absent(report: Json, folder: Path, root: Path) -> None:
    """All files that the report is made of or from and that are not there, at once."""
    wanted = [folder / name for name in report["faces"]] + [root / name for name in report["inputs"]]
    if report["baseline"]:
        wanted += [root / report["baseline"]["report"] / name for name in report["baseline"]["sha256"]]
    wanted += [root / "evaluations" / name / "scores.json" for name in report["seed_evaluations"]]
    hint = "verify where the report was made, or bring the file back: without it the numbers rest on nothing"
    absent = [Problem(str(path), "is not there", hint) for path in wanted if not path.is_file()]
    if absent:
        raise DataError(absent)


def _recorded(folder: Path) -> tuple[Config, list[Gate]]:
    """The settings a report was made by, and the recipe's gates then."""
    path = folder / "settings.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        gates = [Gate.model_validate(gate) for gate in found["recipe_gates"]]
        return Config.model_validate(found["config"]), gates
    except (ValueError, KeyError, TypeError) as error:
        hint = "restore the file as it was released"
        raise DataError(Problem(str(path), f"does not hold settings: {error}", hint)) from error


def _sources(report: Json, root: Path, recorded: tuple[Config, list[Gate]], folder: Path) -> Sources:
    config, gates = recorded
    return Sources(
        config=config,
        root=root,
        evaluation=root / "evaluations" / report["evaluation"],
        run=root / "runs" / report["run"],
        prepared=root / "data" / "prepared" / report["data"],
        recipe_gates=tuple(gates),
        report=folder,
    )


def _changed_inputs(report: Json, sources: Sources) -> Iterator[Difference]:
    """Files that the numbers come from and that are not those of then."""
    for name, then in report["inputs"].items():
        now = sha256_file(sources.root / name)
        if now != then:
            yield Difference(name, "was changed since the report was made", f"sha256 {then[:12]}", now[:12])
    for name in input_files(sources).keys() - report["inputs"].keys():
        yield Difference(name, "was not there when the report was made")


def _changed_faces(report: Json, folder: Path) -> Iterator[Difference]:
    for name, then in report["faces"].items():
        now = sha256_file(folder / name)
        if now != then:
            what = "is not the file that report.json records"
            yield Difference(name, what, f"sha256 {then[:12]}", now[:12])


def _changed_settings(then: Config, now: Config) -> Iterator[Difference]:
    """Gates, claims, metrics, languages and tolerances that the project sets otherwise today."""
    for part in _NAMED:
        old, new = ({entry.name for entry in getattr(config, part)} for config in (then, now))
        for name in sorted(old - new):
            yield Difference(f"conf: {part}.{name}", "is none of the settings now")
        for name in sorted(new - old):
            yield Difference(f"conf: {part}.{name}", "was none of the settings then")
    before, after = _judging(then, now), _judging(now, then)
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            yield Difference(f"conf: {key}", "is set otherwise now", _shown(before, key), _shown(after, key))


def _judging(config: Config, other: Config) -> dict[str, Any]:
    """What judges, by its path; of gates and claims those that `other` has too: the rest is told whole."""
    tree = {**config.model_dump(mode="json"), "languages": config.languages}
    tree["report"] = {name: tree["report"][name] for name in _JUDGING_REPORT}
    for part in _NAMED:
        shared = {entry.name for entry in getattr(other, part)}
        tree[part] = {entry["name"]: entry for entry in tree[part] if entry["name"] in shared}
    tree["evaluate"]["metrics"] = {use["name"]: use["params"] for use in tree["evaluate"]["metrics"]}
    return {dotted(key): value for name in _JUDGING for key, value in leaves(tree[name], (name,))}


def _shown(settings: dict[str, Any], key: str) -> str:
    return json.dumps(settings[key], ensure_ascii=False) if key in settings else "not set"


def _lost_reviews(report: Json, root: Path) -> Iterator[Difference]:
    """Verdicts of people on the page that no line of `reviews.jsonl` gives."""
    said = set(read_reviews(root / REVIEWS))
    for entry in from_report(report):
        if entry.review not in said:
            where = f"review of {entry.review.id} by {entry.review.reviewer}"
            yield Difference(where, f"no such line stands in {REVIEWS}")


def _changed_scores(scores: Json, sources: Sources, hooks: Hooks) -> list[Difference]:
    """Numbers of `scores.json` that do not follow from the answers, times and readings saved beside it.

    A judge is not asked again: what it said is saved too, and what is not saved is a difference.
    """
    from kit.evaluate.evaluate import load_metrics, score_saved
    from kit.evaluate.general import load_general
    from kit.evaluate.judge import FILE, MissingRepliesError, ready_judge
    from kit.evaluate.prompts import choose, load_prompts
    from kit.evaluate.stale import made_otherwise

    config, answers = sources.config, sources.evaluation / "predictions.jsonl"
    prompts = choose(load_prompts(sources.prepared / "test"), config.evaluate.max_prompts)
    general = load_general(config, sources.root, hooks)
    outside = [prompt.id for each in general for prompt in each.prompts]
    faulty = _faulty_answers(answers, [prompt.id for prompt in prompts], outside, config)
    if faulty:
        unlike = made_otherwise(sources.evaluation, config, sources.root, hooks)
        return [Difference("conf", said) for said in unlike] + [Difference(answers.name, faulty)]
    header = {key: scores[key] for key in _HEADER if key in scores}
    if _cut(sources.evaluation / FILE):
        return [Difference(FILE, _HALF_LINE)]
    metrics, judge = load_metrics(config, hooks, sources.root), ready_judge(config, sources.root, ask=False)
    try:
        found = score_saved(
            config, metrics, general, judge, prompts, sources.evaluation, header, sources.prepared
        )
    except MissingRepliesError as error:
        return [Difference(problem.where, problem.message) for problem in error.problems]
    again = json.loads(json.dumps(found)) | {"kit_version": scores["kit_version"]}  # of who evaluated
    changed = changed_values("scores.json", scores, again)
    return [*_changed_gates(scores, again, config), *changed] if changed else []


def _changed_gates(scores: Json, again: Json, config: Config) -> Iterator[Difference]:
    """Gates that come out otherwise on the scores that the answers give: told first, as they matter most."""
    from kit.evaluate.gates import judge_gates

    then, now = (judge_gates(found, config.gates, config.languages) for found in (scores, again))
    for before, after in zip(then, now, strict=True):
        if before.status != after.status:
            what = "comes out otherwise on the answers that are saved"
            yield Difference(f"gate {before.name}", what, before.status, after.status)


_HEADER = (
    "evaluation", "run", "data", "date", "synthetic", "synthetic_share", "conditions", "definitions",
)  # fmt: skip
"""What `scores.json` says that does not follow from the answers; its recorded hash guards it."""


_HALF_LINE = "ends in the middle of a line"


def _cut(path: Path) -> bool:
    """Whether a file's last line is half; reading the file to go on with it would cut that off."""
    return path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n")


def _faulty_answers(path: Path, ids: Sequence[str], outside: Sequence[str], config: Config) -> str:
    """What is lacking or doubled in the answers, in words; empty where every prompt has all of its own, once.

    Args:
        outside: the prompts of general sets, which are answered greedily only.
    """
    if _cut(path):
        return _HALF_LINE
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        given = Counter(key_of(line) for line in lines)
    except (ValueError, KeyError, TypeError):
        return "holds a line that is no prediction"
    sampling, systems = config.evaluate.sampling, ("base", "tuned")
    wanted = [(id_, system, "greedy", 0) for system in systems for id_ in (*ids, *outside)]
    if sampling.enabled:
        numbers = range(sampling.answers)
        wanted += [
            (id_, system, "sampled", sample) for system in systems for id_ in ids for sample in numbers
        ]
    if lacking := [key for key in wanted if key not in given]:
        return f"lacks {len(lacking)} of {len(wanted)} answers, the first of {_which(lacking[0])}"
    # Scores are made of the last of them, so that one may have been tried until it pleased.
    if doubled := [key for key, lines_of_it in given.items() if lines_of_it > 1]:
        return f"holds {plural(len(doubled), 'answer')} more than once, the first of {_which(doubled[0])}"
    return ""


def _which(key: Key) -> str:
    id_, system, decoding, sample = key
    return f"{system}, {decoding}{f', sample {sample}' if sample else ''}, to {id_}"


def _beside(report: Json, sources: Sources) -> Beside:
    """The baseline, reviews and other seeds that the report was made with."""
    by_seed = {}
    for name in report["seed_evaluations"]:
        folder = sources.root / "evaluations" / name
        record = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
        by_seed[int(record["generation"]["seed"])] = scores
    named = (report["baseline"] or {}).get("report")
    return Beside(
        baseline=read_baseline(sources.root, named) if named else None,
        reviews=from_report(report),
        by_seed=by_seed,
    )


def _comparable(report: Json) -> Json:
    """A report without what is compared by itself: hashes, and the casekit that wrote it."""
    own = {"inputs", "faces", "made_with"}
    return {key: value for key, value in report.items() if key not in own}
