"""The systems that a comparison names: files of answers, or evaluations and runs of a project."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kit.config.errors import ConfigError, InvalidRunError, Problem
from kit.data.prepared import prepared_folder
from kit.evaluate.given import Given, read_given
from kit.evaluate.given_rows import GivenRow
from kit.evaluate.predictions import Line, read_predictions
from kit.evaluate.prompts import load_prompts
from kit.evaluate.timing import SYSTEMS


def find_given(root: Path, words: Sequence[str]) -> list[Given]:
    """The systems that words name, each under a name of its own.

    Args:
        root: the project in which ids are looked up.
        words: a file of answers; or an evaluation or run, by id or folder, of which the tuned answers are
            taken, or with `:base` at its end those of the base.

    Raises:
        ConfigError: a word names nothing; all of them at once.
        DataError: a file cannot be used, or an evaluation's prepared data is gone.
        InvalidRunError: an evaluation's answers are not those that it was scored on.
    """
    found, problems = [], []
    for word in words:
        try:
            found.append(_find(root, word))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return [replace(given, name=name) for given, name in zip(found, _own_names(found), strict=True)]


def _find(root: Path, word: str) -> Given:
    if Path(word).is_file():
        return read_given(Path(word))
    place, _, system = word.rpartition(":")
    if system not in SYSTEMS:
        place, system = word, "tuned"
    for folder in (Path(place), root / "evaluations" / place, root / "runs" / place):
        if (folder / "scores.json").is_file():
            return read_evaluation(folder, system)
        if (folder / "manifest.json").is_file():
            return read_evaluation(_newest_of(folder), system)
    known = sorted(path.parent.name for path in (root / "evaluations").glob("*/scores.json"))
    hint = (
        f"evaluations here: {', '.join(known)}" if known else f"there are no evaluations in {root.resolve()}"
    )
    message = "neither a file of answers, nor an evaluation or a run"
    raise ConfigError(Problem(word, message, f"{hint}; files are JSONL with `id`, `prompt`, `output`"))


def _newest_of(run: Path) -> Path:
    """The newest finished evaluation of a run.

    Raises:
        ConfigError: there is none.
    """
    found = [
        path.parent
        for path in run.parent.parent.glob("evaluations/*/evaluation.json")
        if (path.parent / "scores.json").is_file()
        and json.loads(path.read_text(encoding="utf-8"))["run"] == run.name
    ]
    if not found:
        hint = f"make one with `casekit evaluate --run {run.name}`"
        raise ConfigError(Problem(str(run), "the run was not evaluated", hint))
    return max(found, key=lambda folder: (folder / "scores.json").stat().st_mtime_ns)


def read_evaluation(folder: Path, system: str) -> Given:
    """The answers of `base` or `tuned` to the prompts of an evaluation, under every decoding.

    Raises:
        DataError: the prepared data that it asked is gone.
        InvalidRunError: a prompt that it was scored on has no answer, or is not in the data any more.
    """
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    root = folder.resolve().parent.parent
    prompts = {prompt.id: prompt for prompt in load_prompts(prepared_folder(root, scores["data"]) / "test")}
    answers = folder / "predictions.jsonl"
    predictions = read_predictions(answers)
    several = (scores.get("worst_at_k") or {"answers": 0})["answers"]
    rows = {}
    for item in scores["items"]:
        id_ = item["id"]
        outputs = {
            decoding: _said(predictions[id_, system, decoding, 0])
            for decoding in scores["validity"]
            if (id_, system, decoding, 0) in predictions
        }
        drawn = [(id_, system, "sampled", sample) for sample in range(several)]
        lacking = outputs.keys() != scores["validity"].keys() or not predictions.keys() >= {*drawn}
        if id_ not in prompts or lacking:
            message = f"the prompt {id_} that was scored has no answer, or is not in the data any more"
            raise InvalidRunError(Problem(str(answers), message, "evaluate the run again"))
        reference = dict(prompts[id_].reference)
        rows[id_] = GivenRow(
            where=f"{answers} id {id_}",
            prompt=reference.pop("prompt"),
            answer=reference.pop("answer"),
            expected=prompts[id_].expected,
            outputs=outputs,
            slices=prompts[id_].slices,
            group=prompts[id_].group,
            drawn=tuple(_said(predictions[key]) for key in drawn),
        )
    return Given(
        name=folder.resolve().name if system == "tuned" else f"{folder.resolve().name}:{system}",
        path=answers,
        rows=rows,
        made_elsewhere=False,
        synthetic=bool(scores["synthetic"]),
        model=scores["model"],
        conditions={"answers": f"{system} of {folder.resolve().name}", **scores["conditions"][system]},
    )


def _said(line: Line) -> Line:
    return {key: line[key] for key in ("output", "finished")}


def _own_names(systems: Sequence[Given]) -> list[str]:
    """A name for each: the file's, with as many of its folders before it as tell it from the others."""
    short = [given.name.removesuffix(".jsonl") if given.made_elsewhere else given.name for given in systems]
    paths = [given.path.resolve() for given in systems]
    names = []
    for name, path, given in zip(short, paths, systems, strict=True):
        rivals = [other for other, rival in zip(paths, short, strict=True) if rival == name and other != path]
        told_apart = given.made_elsewhere and rivals
        names.append(str(_tail(path, rivals)).removesuffix(".jsonl") if told_apart else name)
    # The same answers twice, to see that they show no difference.
    return [
        name if names.index(name) == place else f"{name} ({names[: place + 1].count(name)})"
        for place, name in enumerate(names)
    ]


def _tail(path: Path, others: Sequence[Path]) -> Path:
    """The shortest end of a path that no other path has."""
    for length in range(1, len(path.parts) + 1):
        if all(other.parts[-length:] != path.parts[-length:] for other in others):
            return Path(*path.parts[-length:])
    return path
