"""Training on one GPU: tokens a second, memory and MFU of the kit, a bare loop, TRL and LLaMA-Factory.

    python bench/gpu/train.py --shape qwen2.5-7b [--methods full lora qlora] [--turns 3] [--kernels]
    python bench/gpu/train.py --shape toy --device cpu      # the same lines on a laptop: that they run

Random weights of the shapes in `bench/shapes.py`; nothing is downloaded. Dialogues of mixed lengths,
`--batch` to a step, `--limit` tokens at most, `--per-pass` rows through the network together (8 by others'
defaults). Contestants are processes of their own that have the device one after the other, for an epoch that
does not count and `--turns` that do; libraries of the next few are loaded meanwhile, their models are not.
Seconds are the wall's with all kernels done, memory is the most that torch's allocator reserved (on a CPU:
the processor's seconds, the process's memory). `defaults` of TRL and LLaMA-Factory pad and checkpoint,
`packed` is their quickest setting without a kernel of its own. `bare` is what nobody can do with less. With
`--kernels` the bare loop also runs packed rows by every attention that is installed, with Liger and with
torch.compile, and LLaMA-Factory with Liger: a kernel becomes a default of the kit only where this table says
so. `--checkpointing` recomputes activations, for the kit and the bare loop.

MFU is FLOP of forward and backward over real tokens (no padding, nothing recomputed; adapters' where only
those are trained) by seconds and the device's dense bfloat16 peak. What does not fit, or takes longer than
`--limit-seconds`, is told. `--json` keeps every figure, and is written after each contestant.
"""

import argparse
import json
import shutil
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parents[1]
sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() not in (BENCH, BENCH / "gpu")]
sys.path += [str(BENCH), str(BENCH.parent)]

# ruff: noqa: E402
from shapes import OURS, QWEN, flops_of_rows
from train_data import RANK, make_data, make_weights, write_facts
from train_race import FACTORY, WAYS, Contestant, named, start, table

from kit.train.flops import peak_flops

AHEAD = 6
"""Contestants whose libraries are loaded, or being loaded, besides the one that has the device."""

METHODS = ["full", "lora", "qlora"]


def main() -> None:
    """Measure and print a table in Markdown for each method."""
    given = arguments()
    import torch

    name = torch.cuda.get_device_name() if given.device == "cuda" else "cpu"
    print(f"{given.shape} on {name}, torch {torch.__version__}, longest {given.limit}, {given.turns} turns")
    with world(given) as work, ThreadPoolExecutor(1) as counting:
        facts = json.loads((work / "facts.json").read_text(encoding="utf-8"))
        wanted = [(method, who, way) for method in given.methods for who, way in given.only or all_of(given)]
        race = Race(given, work, wanted)
        try:
            if not (work / "base" / "config.json").is_file():
                make_weights((work / "base").resolve(), given.shape, given.device)
                torch.cuda.empty_cache()
            flops = {
                method: counting.submit(flops_of_rows, given.shape, method, RANK, facts["lengths"])
                for method in given.methods
            }
            figures = Figures(given, name, facts, flops)
            for method in given.methods:
                done, missing = in_turn(race, figures, method)
                found = table(done, facts, flops[method].result(), peak_flops(name))
                print(f"\n{method}\n\n{found}")
                print("".join(f"\n- {why}" for why in [*missing, *not_here(given)]), flush=True)
        finally:
            race.end()


def arguments() -> argparse.Namespace:
    """What was asked for."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", choices=[*OURS, *QWEN], default="qwen2.5-0.5b")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--limit", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=32, help="rows to a step")
    parser.add_argument("--per-pass", type=int, default=8, help="rows through the network together")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--only", nargs="+", type=named, metavar="WHO-WAY", help="such as kit-packed")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--llamafactory-python", type=Path, help="of an environment with LLaMA-Factory")
    parser.add_argument("--limit-seconds", type=float, help="for a contestant, from where it may load")
    parser.add_argument("--json", type=Path, help="where every figure is written")
    parser.add_argument("--work", type=Path, help="where weights and tokens are kept, such as /dev/shm")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU; `--shape toy --device cpu` runs the same lines without one")
    if any(who == "llamafactory" for who, _ in given.only or []) and not given.llamafactory_python:
        parser.error("llamafactory needs --llamafactory-python, of an environment that has it")
    given.batch = min(given.batch, given.rows)
    return given


@contextmanager
def world(given: argparse.Namespace) -> Iterator[Path]:
    """A folder of this race with what contestants train on in it; weights are linked to, and may be missing.

    Weights of a shape, and tokens of as many rows and as long ones, are made once where `--work` keeps them:
    in `casekit-bench/SHAPE/ROWS-rows-of-LIMIT`, with the facts of the last race.
    """
    with tempfile.TemporaryDirectory(prefix="casekit-bench-") as passing:
        kept = (given.work.resolve() if given.work else Path(passing)) / "casekit-bench" / given.shape
        data = kept / f"{given.rows}-rows-of-{given.limit}"
        if not (data / "tokens.json").is_file():
            make_data(data, given.shape, given.rows, given.limit)
            (data / "base").symlink_to(kept / "base")
        sizes = (given.rows, given.limit, given.batch, given.per_pass)
        write_facts(data, given.shape, *sizes, given.device, given.checkpointing)
        with tempfile.TemporaryDirectory(prefix="race-", dir=kept) as folder:
            work = Path(folder)
            for name in ("base", "prepared", "tokens.json"):
                (work / name).symlink_to((data / name).resolve())
            shutil.copy(data / "facts.json", work)
            yield work


def all_of(given: argparse.Namespace) -> list[tuple[str, str]]:
    """Who runs where nobody was named, and how."""
    kernels = ["eager", "compile", *(name for name, package in OPTIONAL.items() if find_spec(package))]
    factory = [*FACTORY, *([("llamafactory", "packed+liger")] if given.kernels else [])]
    return [
        *WAYS,
        *(("bare", f"packed+{name}") for name in kernels if given.kernels),
        *(factory if given.llamafactory_python else []),
    ]


OPTIONAL = {
    "liger": "liger_kernel",
    "flash_attention_2": "flash_attn",
    "flash_attention_3": "flash_attn_interface",
}
"""Kernels and the packages they come in."""


def not_here(given: argparse.Namespace) -> list[str]:
    """What could not be tried."""
    missing = [(name, package) for name, package in OPTIONAL.items() if not find_spec(package)]
    lines = [f"{name}: not measured, `{package}` is not installed" for name, package in missing]
    factory = [] if given.llamafactory_python else ["LLaMA-Factory: not measured, see --llamafactory-python"]
    return [*(lines if given.kernels else []), *factory]


class Race:
    """Contestants in their order, some of them started ahead of their turn.

    Args:
        wanted: method, who and way of each.
    """

    def __init__(self, given: argparse.Namespace, work: Path, wanted: list[tuple[str, str, str]]) -> None:
        self.given = given
        self.work = work
        self.wanted = deque(wanted)
        self.started: deque[tuple[str, Contestant]] = deque()
        self.fill()

    def fill(self) -> None:
        """Start as many as may wait."""
        while self.wanted and len(self.started) <= AHEAD:
            method, who, way = self.wanted.popleft()
            one = start(self.work, method, who, way, self.given.llamafactory_python)
            self.started.append((method, one))

    def of(self, method: str) -> Iterator[Contestant]:
        """Those of a method, each as its turn comes; it is ended before the next one's does."""
        while self.started and self.started[0][0] == method:
            one = self.started[0][1]
            yield one
            one.stop()
            self.started.popleft()
            self.fill()

    def end(self) -> None:
        """Nobody is left running."""
        self.wanted.clear()
        for _, one in self.started:
            one.process.kill()
            one.stop()


def in_turn(race: Race, figures: "Figures", method: str) -> tuple[list[Contestant], list[str]]:
    """One contestant after the other, so that each has the device alone; and why some have no figures."""
    done, missing = [], []
    for one in race.of(method):
        why = measure(one, race.given.turns, race.given.limit_seconds)
        if why:
            missing.append(f"{one.name}: {why}")
        else:
            done.append(one)
        figures.add(method, one, why)
    return done, missing


def measure(one: Contestant, turns: int, limit_seconds: float | None) -> str | None:
    """Let a contestant train; why it has not come to the end of it, if so."""
    late = threading.Event()

    def end() -> None:
        late.set()
        one.process.kill()

    timer = threading.Timer(limit_seconds or threading.TIMEOUT_MAX, end)
    timer.daemon = True
    timer.start()
    try:
        one.warm_up()
        for _ in range(turns):
            one.turn()
    except RuntimeError as error:
        if late.is_set():
            return f"took longer than {limit_seconds:g} s"
        return "out of memory" if "OutOfMemoryError" in str(error) else str(error)
    finally:
        timer.cancel()
    return None


class Figures:
    """Everything that was measured, on disk after each contestant if that was asked for.

    Args:
        name: of the device.
        flops: of an epoch, by method.
    """

    def __init__(
        self, given: argparse.Namespace, name: str, facts: dict[str, Any], flops: dict[str, Future[float]]
    ) -> None:
        import torch

        sizes = ("shape", "rows", "limit", "batch", "per_pass", "packed_per_pass", "checkpointing", "tokens")
        self.path = given.json
        self.shared = {"device": name, "torch": torch.__version__, **{size: facts[size] for size in sizes}}
        self.flops = flops
        self.peak = peak_flops(name)
        self.rows: list[dict[str, Any]] = []

    def add(self, method: str, one: Contestant, why: str | None) -> None:
        """A contestant that is through, and what it took.

        `importing` and `loading` are seconds of the wall before the first epoch, `first` those of that epoch,
        which does not count; `peak` is what the allocator reserved and `allocated` what tensors took, bytes.
        """
        told = ("importing", "loading", "first", "peak", "allocated", "before")
        row = {"method": method, "who": one.who, "way": one.way, "why_not": why, "seconds": one.seconds}
        row |= {name: one.facts[name] for name in told if name in one.facts}
        row["flops"] = self.flops[method].result()
        rates = [self.shared["tokens"] / seconds for seconds in one.seconds]
        row["tokens_a_second"] = rates
        row["mfu"] = [row["flops"] / seconds / self.peak for seconds in one.seconds] if self.peak else None
        self.rows.append(row)
        best = f"{max(rates):,.0f} tokens a second at best" if rates else "no epoch"
        print(f"{method}: {one.name}: {best}{'' if why is None else ', did not finish'}", flush=True)
        if self.path:
            part = self.path.with_name(f"{self.path.name}.part")
            part.write_text(json.dumps({**self.shared, "contestants": self.rows}, indent=1), encoding="utf-8")
            part.replace(self.path)


if __name__ == "__main__":
    main()
