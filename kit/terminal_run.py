"""A run as `casekit watch` shows it: how far it is, its curves, what was found. Reads files only."""

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from kit.train.metrics import read_metrics
from kit.train.runs import load_manifest

PLOT_HEIGHT = 14
"""Lines of the plot."""
EVENTS_SHOWN = 5
SILENT_AFTER = 120
"""Seconds without a new line after which a run is said to be silent."""

Line = dict[str, Any]


@dataclass(frozen=True)
class RunState:
    """What the files of a run say at one moment."""

    manifest: dict[str, Any]
    lines: list[Line]
    silent_seconds: float
    """Since the last line was written."""

    @property
    def step(self) -> int:
        """The last step that was logged."""
        return max((line["step"] for line in self.lines), default=0)

    @property
    def steps(self) -> int | None:
        """Steps that are planned; None until the model is loaded."""
        steps: int | None = self.manifest.get("steps")
        return steps

    @property
    def seconds_left(self) -> float | None:
        """By the pace of this session; None before its first logged step, or where it does not run."""
        session = self.manifest["sessions"][-1]
        done = self.step - session["from_step"]
        if self.manifest["status"] != "running" or not self.steps or done <= 0:
            return None
        began = datetime.fromisoformat(session["started"]).timestamp()
        pace: float = (time.time() - self.silent_seconds - began) / done
        return max(0.0, pace * (self.steps - self.step) - self.silent_seconds)

    def of_kind(self, kind: str) -> list[Line]:
        """The lines of one kind: `train`, `eval` or `event`."""
        return [line for line in self.lines if line["kind"] == kind]


def read_state(run: Path) -> RunState:
    """The state of a run's files now.

    Raises:
        ConfigError: `run` is no run's folder.
    """
    manifest = load_manifest(run)
    path = run / "metrics.jsonl"
    silent = time.time() - path.stat().st_mtime if path.is_file() else 0.0
    return RunState(manifest, read_metrics(run), max(0.0, silent))


def run_view(state: RunState, width: int) -> RenderableType:
    """The whole view, for a terminal of `width` columns."""
    parts = [_headline(state)]
    if len(state.of_kind("train")) > 1:
        parts += [Text("loss of training (line) and of validation (x), by step", style="dim")]
        parts += [Text(loss_plot(state, width), no_wrap=True)]
    parts += [_values(state), _scores(state), *_events(state)]
    return Group(*(part for part in parts if part.plain))


def loss_plot(state: RunState, width: int) -> str:
    """Training and validation loss over steps, in Braille points."""
    import plotext

    figure = plotext.figure
    figure.clear()
    figure.plot_size(min(width, 110), PLOT_HEIGHT)
    train, validation = state.of_kind("train"), state.of_kind("eval")
    points = [(line["step"], line["loss"]) for line in train if line["loss"] is not None]
    curve = figure.signal([step for step, _ in points], [loss for _, loss in points], marker="braille")
    curve.lines()
    figure.draw(curve)
    if validation:
        steps, losses = ([line[name] for line in validation] for name in ("step", "eval_loss"))
        figure.draw(figure.signal(steps, losses, marker="x"))
    text: str = plotext.uncolorize(figure.build().string())
    return text.rstrip()


def _headline(state: RunState) -> Text:
    facts = state.manifest
    text = Text(f"{facts['run']}  ", style="bold")
    text.append(f"{facts['stage']} of {facts['model']['name']} by {facts['method']}  ", style="not bold")
    status = facts["status"]
    colour = {"running": "cyan", "finished": "green"}.get(status, "yellow")
    text.append(status, style=colour)
    if state.steps:
        text.append(f"  step {state.step:,} of {state.steps:,}", style="not bold")
    if state.silent_seconds <= SILENT_AFTER and (left := state.seconds_left) is not None:
        text.append(f"  {clock(left)} left", style="not bold")
    if status == "running" and state.silent_seconds > SILENT_AFTER:
        text.append(
            f"\nno line for {clock(state.silent_seconds)}: it validates, or was killed "
            "(`casekit train --resume` goes on)",
            style="yellow",
        )
    return text


def _values(state: RunState) -> Text:
    """The newest value of everything that a step measures."""
    if not (train := state.of_kind("train")):
        return Text("no step was logged yet", style="dim")
    last = train[-1]
    shown = [
        ("loss", "{:.4f}", "loss"),
        ("rate", "{:.2e}", "learning_rate"),
        ("gradient norm", "{:.3f}", "grad_norm"),
        ("tokens/s", "{:,.0f}", "tokens_per_second"),
        ("memory", "{:.0%}", "memory_share"),
        ("MFU", "{:.0%}", "mfu"),
        ("margin", "{:.3f}", "reward_margin"),
        ("reward", "{:.3f}", "reward"),
    ]
    parts = [f"{name} {form.format(last[key])}" for name, form, key in shown if last.get(key) is not None]
    return Text("  ".join(parts))


def _scores(state: RunState) -> Text:
    """The newest validation, and the best of all."""
    if not (done := state.of_kind("eval")):
        return Text()
    scored = [line for line in done if line["task_score"] is not None]
    last = f"validation at step {done[-1]['step']:,}: loss {done[-1]['eval_loss']:.4f}"
    if not scored:
        return Text(last)
    best = max(scored, key=lambda line: (line["task_score"], -line["eval_loss"]))
    score, highest = scored[-1]["task_score"] + 0.0, best["task_score"] + 0.0  # no minus zero
    return Text(f"{last}, score {score:.4f}; best {highest:.4f} at step {best['step']:,}")


def _events(state: RunState) -> list[Text]:
    """What the watch found, newest last."""
    return [
        Text(f"step {event['step']:,}: {event['message']}", style="yellow")
        for event in state.of_kind("event")[-EVENTS_SHOWN:]
    ]


def clock(seconds: float) -> str:
    """`seconds` as `h:mm:ss` or `m:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def follow(run: Path, console: Console, every_seconds: float = 1.0) -> RunState:
    """Show a run until it ends or the watcher presses Ctrl-C; once, where there is no terminal."""
    state = read_state(run)
    if not console.is_terminal:
        console.print(run_view(state, console.width))
        return state
    with Live(run_view(state, console.width), console=console, auto_refresh=False) as live:
        try:
            while state.manifest["status"] == "running":
                time.sleep(every_seconds)
                state = read_state(run)
                live.update(run_view(state, console.width), refresh=True)
        except KeyboardInterrupt:  # ends the watching, not the run
            pass
    return state
