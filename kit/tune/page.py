"""What a search found: `tuning.json` for machines, `tuning.html` with the curve for people."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from kit.config.schema import Config
from kit.files import write_json, write_text
from kit.pages import page_environment
from kit.report import svg
from kit.tune.search import best_trial, ended

if TYPE_CHECKING:
    import optuna

WIDTH, HEIGHT = 640.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 620.0, 16.0, 216.0
APART = 5.0
"""The highest value by the lowest from which on a log scale shows more."""


def write_results(folder: Path, study: "optuna.Study", config: Config) -> None:
    """Write both files anew, from all trials that ended."""
    found = results(study, config)
    write_json(folder / "tuning.json", found)
    write_text(folder / "tuning.html", page(found))


def results(study: "optuna.Study", config: Config) -> dict[str, Any]:
    """The search as data: what was searched, every trial that ended, and the best of them."""
    trials = [
        {
            "number": trial.number,
            "state": {"COMPLETE": "complete", "PRUNED": "given up", "FAIL": "failed"}[trial.state.name],
            "words": trial.user_attrs["words"],
            "settings": trial.params,
            "score": trial.user_attrs.get("score"),
            "eval_loss": trial.user_attrs.get("eval_loss"),
            "failed": trial.user_attrs.get("failed"),
            "seconds": round(trial.user_attrs.get("seconds", 0.0), 1),
            "run": trial.user_attrs.get("run"),
        }
        for trial in ended(study)
    ]
    best = best_trial(study, config)
    return {
        "schema": 1,
        "objective": config.tune.objective,
        "method": config.method.name,
        "model": config.model.name,
        "stage": config.train.stage,
        "searched": {
            name: value
            for name in ("learning_rate", "rank", "global_batch_size")
            if (value := getattr(config.tune, name))
        },
        "trials": trials,
        "best": next((trial for trial in trials if best and trial["number"] == best.number), None),
    }


def page(found: dict[str, Any]) -> str:
    """The results as one self-contained HTML document, everything escaped."""
    environment = page_environment(Path(__file__).parent / "templates")
    rates = "learning_rate" in found["searched"]
    drawn = [trial for trial in found["trials"] if trial["state"] != "failed"]
    named = {"score": "Score by learning rate", "eval_loss": "Lowest loss by learning rate"}
    plots = {
        title: Markup(rate_plot(drawn, name, title))  # noqa: S704 - our own shapes, text escaped by `svg`
        for name, title in named.items()
        if rates and drawn
    }
    return environment.get_template("tuning.html.j2").render(found=found, plots=plots)


def rate_plot(trials: Sequence[dict[str, Any]], name: str, title: str) -> str:
    """A dot a trial over its learning rate, on a log scale; hollow where it was given up.

    Losses far apart are on a log scale too: of a rate at which nothing is learned it is fifty times that of a
    good one, and the good ones would be one line.
    """
    points = [(trial["settings"]["learning_rate"], trial[name], trial["state"]) for trial in trials]
    least, most = min(value for _, value, _ in points), max(value for _, value, _ in points)
    far = least > 0 and most > APART * least
    marks = log_ticks(least, most) if far else svg.ticks(least, most, "")
    scale: Callable[[float], float] = math.log10 if far else float
    low, high = scale(marks[0][0]), scale(marks[-1][0])
    rates = [math.log10(rate) for rate, _, _ in points]
    first, last = math.floor(min(rates)), math.ceil(max(rates))
    last = max(last, first + 1)

    def across(rate: float) -> float:
        return LEFT + (RIGHT - LEFT) * (math.log10(rate) - first) / (last - first)

    def down(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (scale(value) - low) / (high - low or 1.0)

    shapes = []
    for value, text in marks:
        shapes += [svg.line(LEFT, down(value), RIGHT, down(value), "grid")]
        shapes += [svg.text(LEFT - 8, down(value) + 4, text, "tick", "end")]
    for power in range(first, last + 1):
        shapes += [svg.line(across(10.0**power), TOP, across(10.0**power), BOTTOM, "grid")]
        shapes += [svg.text(across(10.0**power), BOTTOM + 18, f"1e{power}", "tick", "middle")]
    for rate, value, state in points:
        kind = "dot hollow" if state == "given up" else "dot"
        shapes.append(f'<circle class="{kind}" cx="{across(rate):.1f}" cy="{down(value):.1f}" r="4.5"/>')
    return svg.drawing(shapes, WIDTH, HEIGHT - 20, f"{title}, both on a log scale" if far else title)


def log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Axis marks at 1, 2 and 5 times the powers of ten, from the one below `low` to the one above `high`;
    `low` is above 0. Over more than three powers only these."""
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high)) + 1
    steps = (1, 2, 5) if last - first <= 4 else (1,)
    marks = sorted({m * 10.0**power for power in range(first, last + 1) for m in steps})
    begin = max(mark for mark in marks if mark <= low * (1 + 1e-9))
    end = min(mark for mark in marks if mark >= high * (1 - 1e-9))
    return [(mark, f"{mark:g}") for mark in marks if begin <= mark <= end]
