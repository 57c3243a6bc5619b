"""How the run went: what was adapted, the curves, and what watching them has shown."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from kit.config.methods import LORA
from kit.config.schema import Config
from kit.memory import ALARM
from kit.report import plots
from kit.report.formatting import NONE, Unit, count, difference, duration, number, plural, quantity
from kit.report.provenance import share
from kit.report.read import Inputs, Json
from kit.report.scores import unit_of
from kit.report.view_origin import Training
from kit.report.words import better
from kit.train.curve import FLUCTUATION_LIMIT, STILL, WINDOW, Point, find_plateau, find_rises, find_spikes

_DRAWN = 400
"""Logged steps that a curve is drawn from; a run of a hundred thousand needs no more."""
_LISTED = 40
_SPIKES_MARKED = 10
_EVENTS = 10
_SAID_ABOVE = ("fluctuation", "plateau")


def training(inputs: Inputs, config: Config) -> Training | None:
    """The run: what was adapted, how, and how it went; None where there is no run."""
    if inputs.manifest is None:
        return None
    earlier = [_stage(one.manifest, one.curve, inputs.scores, one.config) for one in inputs.earlier]
    return replace(_stage(inputs.manifest, inputs.curve, inputs.scores, config), earlier=earlier)


def _stage(manifest: Json, curve: list[Json], scores: Json, config: Config) -> Training:
    chain = manifest.get("chain")
    golden = manifest.get("golden") or {}
    total, adapted = manifest.get("total_parameters"), manifest.get("trainable_parameters")
    begins = [("Goes on from", manifest["continues"]["run"])] if manifest.get("continues") else []
    facts = [
        *begins,
        ("Stage and method", f"{manifest['stage']}, {method_label(manifest['method'], config)}"),
        ("Trained parameters", f"{count(adapted)} ({share(adapted, total)} of all)"),
        ("Optimiser steps", count(manifest.get("steps"))),
        ("Time", duration(manifest.get("seconds"))),
        *_resources(manifest),
        ("Seed", str(manifest.get("seed", NONE))),
        ("Status", str(manifest.get("status", NONE))),
    ]
    evaluations = [line for line in curve if line["kind"] == "eval"]
    step = golden.get("step")
    name = _drawn_loss(manifest)
    losses = [(line["step"], loss) for line in curve if (loss := _loss_of(line)) is not None]
    spikes, rises = ([], []) if name else (find_spikes(losses), find_rises(losses))
    marked = sorted(sorted(spikes, key=lambda spike: -spike[1])[:_SPIKES_MARKED])
    validation = [
        (line["step"], line["eval_loss"]) for line in evaluations if _has(line, "eval", "eval_loss")
    ]
    task = _task(golden, scores)
    tasks = [
        (line["step"], task.sign * line["task_score"])
        for line in evaluations
        if _has(line, "eval", "task_score")
    ]
    draw_tasks = partial(plots.score_curve, tasks, step, f"{task.legend}, by step", task.unit == "rate")
    loss_title = f"{name or 'Training and validation loss'} by step"
    drawn, listed = _thinned(losses, _DRAWN, marked), _thinned(losses, _LISTED, marked)
    draw_losses = partial(plots.loss_curve, drawn, validation, step, loss_title, _places(losses, marked))
    return Training(
        title=f"Stage {chain['number']} of {len(chain['stages'])}: {manifest['stage']}" if chain else "",
        facts=facts,
        settings=_settings(config),
        findings=_findings(manifest, evaluations, config, task)
        + _watched([] if name else losses, rises, curve),
        loss=plots.figure(draw_losses) if losses else None,
        losses=_loss_rows(listed, dict(spikes)),
        losses_note=_listed_note(losses, listed),
        task_score=plots.figure(draw_tasks) if tasks else None,
        task_legend=task.legend,
        checkpoints=[
            (count(line["step"]), number(line.get("eval_loss"), 3), task.show(line.get("task_score")))
            for line in evaluations
        ],
    )


def _drawn_loss(manifest: Json) -> str:
    """What is drawn in place of the loss; empty where it is the loss. That of grpo compares answers with each
    other, and is about 0 whatever they are worth.
    """
    return "Minus the mean reward, in training and validation," if manifest["stage"] == "grpo" else ""


def _loss_of(line: Json) -> float | None:
    """A logged training loss, of grpo minus the mean reward; None of any other line."""
    if line["kind"] != "train":
        return None
    if not line.get("rewards"):
        loss: float | None = line.get("loss")
        return loss
    return None if line["reward"] is None else -line["reward"]


def _resources(manifest: Json) -> list[tuple[str, str]]:
    """Memory at its fullest against the alarm, the micro-batch where it was reduced, overflows, MFU."""
    found = []
    if peak := manifest.get("memory_peak"):
        fullest = f"{quantity(peak['share'], 'rate')} at most, {number(peak['gib'], 1)} GiB"
        found.append(("Memory", f"{fullest}; alarm at {ALARM:.0%}"))
    if batch := manifest.get("batch"):
        unit = "rows" if batch["tokens"] is None else "tokens"
        sizes = f"{count(batch[unit])} of {count(batch['asked'][unit])} asked for"
        found.append((f"{unit.capitalize()} a pass", sizes))
    if overflows := manifest.get("fp16_overflows"):
        found.append(("Steps left out by float16 overflow", count(overflows)))
    if manifest.get("mfu") is not None:
        found.append(("MFU", f"{quantity(manifest['mfu'], 'rate')} of the device's peak"))
    return found


def method_label(method: str, config: Config) -> str:
    """A method as people write it, with the size of what it trains: LoRA, rank 8."""
    own = config.method
    sizes = {
        "freeze": ("last layers", f"{count(own.num_trainable_layers)} trained"),
        "lora": ("DoRA" if own.use_dora else "LoRA", f"rank {own.rank}"),
        "qlora": ("QDoRA" if own.use_dora else "QLoRA", f"rank {own.rank}"),
        "prefix": ("prefix tuning", f"{count(own.num_virtual_tokens)} virtual tokens"),
        "prompt": ("prompt tuning", f"{count(own.num_virtual_tokens)} virtual tokens"),
        "adapter": ("bottleneck adapters", f"size {count(own.bottleneck_size)}"),
        "oft": ("OFT", f"blocks of {own.oft_block_size}"),
    }
    alone = {"full": "full fine-tuning", "ia3": "(IA)³"}
    return ", ".join(sizes[method]) if method in sizes else alone.get(method, method)


@dataclass(frozen=True)
class _Task:
    """The metric that chose the golden checkpoint, turned back the way people read it.

    Training flips the sign of a metric that should fall, so that higher is always better.
    """

    legend: str
    unit: Unit
    sign: int

    def show(self, score: float | None) -> str:
        return quantity(None if score is None else self.sign * score, self.unit)


def _task(golden: Json, scores: Json) -> _Task:
    name = golden.get("metric") or "task score"
    metric = next((m for m in scores["metrics"] if m["name"] == name), None)
    if metric is None:
        return _Task(f"{name} on validation, higher is better", "score", 1)
    sign = 1 if metric["higher_is_better"] else -1
    return _Task(f"{metric['label']} on validation, {better(metric)}", unit_of(metric), sign)


def _findings(manifest: Json, evaluations: list[Json], config: Config, task: _Task) -> list[str]:
    """What watching the run has shown, in sentences."""
    loss, golden = manifest.get("loss") or {}, manifest.get("golden") or {}
    found = []
    if loss.get("first") is not None and loss.get("last") is not None:
        moved = "fell" if loss["last"] < loss["first"] else "did not fall"
        what = (
            "Minus the mean reward of drawn answers" if manifest["stage"] == "grpo" else "The training loss"
        )
        found.append(f"{what} {moved}: from {number(loss['first'], 3)} to {number(loss['last'], 3)}.")
    if loss.get("max_fluctuation") is not None:
        steady = loss["max_fluctuation"] <= FLUCTUATION_LIMIT
        found.append(
            f"Its largest fluctuation was {number(loss['max_fluctuation'], 3)}, "
            f"{'within' if steady else 'over'} the limit of {FLUCTUATION_LIMIT} for a steady run."
        )
    if golden.get("step") is not None:
        found.append(
            f"The golden checkpoint is step {count(golden['step'])} of {count(manifest.get('steps'))}: "
            f"{task.show(golden.get('score'))} ({task.legend})."
        )
        found += _compare_with_lowest_loss(golden, evaluations)
        found += [] if manifest.get("stopped_early") else _best_for_so_long(evaluations)
    if manifest.get("stopped_early"):
        patience = config.train.early_stopping_patience
        found.append(f"Training stopped early: {patience} validations in a row brought no better task score.")
    return found


def _compare_with_lowest_loss(golden: Json, evaluations: list[Json]) -> list[str]:
    losses = [(line["eval_loss"], line["step"]) for line in evaluations if line.get("eval_loss") is not None]
    if not losses or min(losses)[1] == golden["step"]:
        return []
    lowest, step = min(losses)
    return [
        f"The lowest validation loss, {number(lowest, 3)}, came at step {count(step)}; "
        "the task score decides, not the loss."
    ]


def _settings(config: Config) -> list[tuple[str, str]]:
    train, method = config.train, config.method
    settings = [
        ("Learning rate", f"{train.learning_rate:g}, {train.lr_scheduler_type.replace('_', ' ')}"),
        ("Batch size", count(train.global_batch_size)),
        ("Epochs", f"{train.num_train_epochs:g}"),
    ]
    if method.name in LORA:
        settings.append(("LoRA alpha", count(method.alpha)))
    return settings


def _has(line: Json, kind: str, name: str) -> bool:
    return line["kind"] == kind and line.get(name) is not None


def _watched(losses: Sequence[Point], rises: Sequence[Point], curve: Sequence[Json]) -> list[str]:
    """Rises, a plateau, and what else the watch noted while the run was on; none where none was seen."""
    found = []
    if rises:
        step, rise = max(rises, key=lambda one: one[1])
        found.append(
            f"The training loss rose by more than {FLUCTUATION_LIMIT} over the mean of the {WINDOW} logged "
            f"before at {count(len(rises))} of {plural(len(losses), 'logged step')}; most at step "
            f"{number(step, 0)}, by {number(rise, 3)}."
        )
    still = find_plateau(losses)
    if still is not None:
        found.append(
            f"From step {number(still, 0)} on it fell no further: by less than {quantity(STILL, 'rate')} to "
            f"the end."
        )
    lost = sum(1 for line in curve if line["kind"] == "train" and line.get("grad_norm", 0.0) is None)
    if lost:
        found.append(f"The gradient was not finite at {plural(lost, 'logged step')}.")
    return found + _noted(curve)


def _noted(curve: Sequence[Json]) -> list[str]:
    """What was told while the run was on and is not said above: when, what, and what to do about it."""
    events = [line for line in curve if line["kind"] == "event" and line["event"] not in _SAID_ABOVE]
    told = [
        f"{_when(line['step'])}: {line['message']}. To do: {line['advice']}." for line in events[:_EVENTS]
    ]
    if len(events) > _EVENTS:
        told.append(f"{count(len(events) - _EVENTS)} more findings are in the run's metrics.jsonl.")
    return told


def _when(step: int) -> str:
    return f"Step {count(step)}" if step else "Before the first step"


def _best_for_so_long(evaluations: Sequence[Json]) -> list[str]:
    """Since when no validation brought a better task score."""
    scores = [(line["step"], line["task_score"]) for line in evaluations if _has(line, "eval", "task_score")]
    if not scores:
        return []
    best = max(score for _, score in scores)
    first = next(place for place, (_, score) in enumerate(scores) if score == best)
    later = len(scores) - 1 - first
    if not later:
        return []
    times = plural(later, "later validation")
    return [
        f"The task score stood still after step {count(scores[first][0])}: {times} brought no better one."
    ]


def _thinned(points: Sequence[Point], most: int, kept: Sequence[Point]) -> list[Point]:
    """At most so many points, evenly chosen, the last one and those at the steps of `kept` besides."""
    step = -(-len(points) // most) or 1
    wanted = {at for at, _ in kept}
    last = len(points) - 1
    return [
        point
        for place, point in enumerate(points)
        if place % step == 0 or place == last or point[0] in wanted
    ]


def _places(losses: Sequence[Point], spikes: Sequence[Point]) -> list[Point]:
    """Where spikes stand on the curve."""
    steps = {step for step, _ in spikes}
    return [point for point in losses if point[0] in steps]


def _loss_rows(listed: Sequence[Point], rises: dict[float, float]) -> list[tuple[str, str, str]]:
    return [
        (
            number(step, 0),
            number(loss, 3),
            f"spike, {difference(rises[step], 'score')}" if step in rises else "",
        )
        for step, loss in listed
    ]


def _listed_note(losses: Sequence[Point], listed: Sequence[Point]) -> str:
    if len(listed) == len(losses):
        return "Every logged step"
    return f"{count(len(listed))} of {count(len(losses))} logged steps, the greatest spikes among them"
