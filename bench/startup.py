"""From the command to the first step: what `casekit train` does on tiny until a step is done, stage by stage.

    python bench/startup.py [--recipe finance] [--turns 3] [--importtime]

A new project of a recipe is made and its data prepared; then `train` runs in a process of its own until the
first step is done, as often as asked, and the run with the least processor seconds counts. Every stage is
charged what was not spent in another; importing a library counts as `imports` wherever it happens. Wall
seconds are those of the same run, and long on a busy machine. `--importtime` also prints the libraries that
take longest to import.
"""

import argparse
import builtins
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != HERE]

STAGES = {
    "find the prepared data": [("kit.data.prepared", "find_prepared")],
    "check metrics and labels": [
        ("kit.evaluate.evaluate", "load_metrics"),
        ("kit.evaluate.evaluate", "check_labels"),
    ],
    "tokenizer": [("kit.pipeline", "tokenizer"), ("kit.train.stages", "load_tokenizer")],
    "read rows": [("kit.train.stages", "load_rows")],
    "tokens": [("kit.train.stages", "load_samples"), ("kit.train.stages", "tokenise")],
    "manifest": [("kit.train.stages", "begin_manifest")],
    "load and adapt the model": [("kit.train.setup", "load_for_training")],
    "make the trainer": [("kit.train.setup", "make_trainer")],
    "plan and announce": [("kit.train.stages", "measure"), ("kit.train.stages", "announce")],
    "first step": [("kit.train.stages", "run_trainer")],
}
IMPORTS = "imports"
REST = "everything else"


class Clock:
    """Charges processor and wall seconds to the innermost stage that runs."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}
        self.stack = [REST]
        self.since = now()

    def charge(self) -> None:
        """Give what passed to the stage that runs."""
        here = now()
        entry = self.spent.setdefault(self.stack[-1], [0.0, 0.0])
        entry[0] += here[0] - self.since[0]
        entry[1] += here[1] - self.since[1]
        self.since = here

    def within(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, charged to `stage`; imports within imports are one."""

        @wraps(call)
        def charged(*args: Any, **kwargs: Any) -> Any:
            if self.stack[-1] == stage or (stage == IMPORTS and args[0] in sys.modules):
                return call(*args, **kwargs)  # what is imported already costs less than reading the clock
            self.charge()
            self.stack.append(stage)
            try:
                return call(*args, **kwargs)
            finally:
                self.charge()
                self.stack.pop()

        return charged


def now() -> tuple[float, float]:
    """Seconds of the processor and of the wall since the process began."""
    started = float(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    up = float(Path("/proc/uptime").read_text().split()[0])
    return time.process_time(), up - started / os.sysconf("SC_CLK_TCK")


def until_first_step(project: Path, answer: Path) -> None:
    """Run `casekit train` in this process, write what each stage took to `answer` after a step, and leave."""
    clock = Clock()
    clock.charge()
    plain_import = builtins.__import__
    builtins.__import__ = clock.within(IMPORTS, plain_import)
    importlib.import_module = clock.within(IMPORTS, importlib.import_module)
    from kit.config import load_config
    from kit.pipeline import train

    loaded = load_config(project, ["train.max_steps=2"])
    for stage, places in STAGES.items():
        for module, name in places:
            home = importlib.import_module(module)
            setattr(home, name, clock.within(stage, getattr(home, name)))
    from transformers import TrainerCallback, trainer

    class Stop(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.charge()
            answer.write_text(json.dumps(clock.spent), encoding="utf-8")
            os._exit(0)

    trainer.DEFAULT_CALLBACKS.append(Stop)
    train(loaded)


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipe", default="finance")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--importtime", action="store_true")
    parser.add_argument("--inside", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        return until_first_step(*given.inside)
    with tempfile.TemporaryDirectory(prefix="casekit-bench-") as name:
        project, answer = Path(name) / "project", Path(name) / "spent.json"
        casekit("new", str(project), "--recipe", given.recipe, "--defaults", "--quiet")
        casekit("data", "prepare", cwd=project)
        runs = [one_run(project, answer) for _ in range(given.turns)]
        if given.importtime:
            print(longest_imports(project, answer))
    print(table(runs))


COMMAND = "from kit.cli import main; main()"


def casekit(*words: str, cwd: Path | None = None) -> None:
    """The command, as a user calls it."""
    subprocess.run([sys.executable, "-c", COMMAND, *words], cwd=cwd, check=True, env=environment())


def environment() -> dict[str, str]:
    """This process's, with the kit of this checkout and one thread."""
    return {**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def one_run(project: Path, answer: Path, *flags: str) -> dict[str, list[float]]:
    """Processor and wall seconds of each stage."""
    answer.unlink(missing_ok=True)
    command = [sys.executable, *flags, str(Path(__file__).resolve()), "--inside", str(project), str(answer)]
    done = subprocess.run(
        command, cwd=project, capture_output=True, text=True, env=environment(), check=False
    )
    if not answer.is_file():
        raise SystemExit(done.stderr)
    if flags:
        (answer.parent / "importtime.txt").write_text(done.stderr, encoding="utf-8")
    spent: dict[str, list[float]] = json.loads(answer.read_text(encoding="utf-8"))
    return spent


def longest_imports(project: Path, answer: Path, most: int = 25) -> str:
    """The imports that take longest, with all that they import, in milliseconds."""
    one_run(project, answer, "-X", "importtime")
    text = (answer.parent / "importtime.txt").read_text(encoding="utf-8")
    lines = [line.split("|") for line in text.splitlines() if line.startswith("import time:")][1:]
    lines.sort(key=lambda line: -int(line[1]))
    return "\n".join(f"{int(line[1]) / 1000:8,.0f} {line[2].strip()}" for line in lines[:most]) + "\n"


def table(runs: list[dict[str, list[float]]]) -> str:
    """A line a stage, of the run that took the processor least."""
    best = min(runs, key=lambda run: sum(cpu for cpu, _ in run.values()))
    lines = ["| stage | processor seconds | wall seconds |", "|---|--:|--:|"]
    for stage in [IMPORTS, *STAGES, REST]:
        cpu, wall = best.get(stage, (0.0, 0.0))
        lines.append(f"| {stage} | {cpu:.2f} | {wall:.2f} |")
    cpus = [sum(cpu for cpu, _ in run.values()) for run in runs]
    walls = [sum(wall for _, wall in run.values()) for run in runs]
    lines.append(f"| together | {min(cpus):.2f} | {sum(wall for _, wall in best.values()):.2f} |")
    spread = f"processor {min(cpus):.1f}–{max(cpus):.1f} s, wall {min(walls):.1f}–{max(walls):.1f} s"
    return "\n".join([*lines, "", f"{len(runs)} runs: {spread}"])


if __name__ == "__main__":
    main()
