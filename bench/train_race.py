"""A race between contestants that train: starting them, their turns, and the table that comes of it."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WAYS = [
    ("kit", "grouped"),
    ("kit", "packed"),
    ("bare", "padded"),
    ("bare", "grouped"),
    ("bare", "packed"),
    ("trl", "defaults"),
    ("trl", "packed"),
]
"""Who is measured wherever this environment is, and how."""
FACTORY = [("llamafactory", "defaults"), ("llamafactory", "packed")]
"""Who is measured besides where LLaMA-Factory is."""


@dataclass
class Contestant:
    """A process that trains an epoch when it is asked to."""

    who: str
    way: str
    process: Any
    """`subprocess.Popen` with pipes for text."""
    log: Path
    seconds: list[float] = field(default_factory=list)
    outside: list[float] = field(default_factory=list)
    """Processor seconds of an epoch that are neither forward, backward, clipping nor the optimiser's step."""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As tables call it."""
        return f"{self.who}, {self.way}"

    def tell(self) -> None:
        """Go on: load the model, the first time; then train an epoch."""
        with suppress(BrokenPipeError):  # that it has ended is seen where its answer is read
            self.process.stdin.write("\n")
            self.process.stdin.flush()

    def turn(self) -> None:
        """Train an epoch.

        Raises:
            RuntimeError: the process has ended; with the end of what it printed.
        """
        self.tell()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} ended:\n{self.log.read_text(errors='replace')[-2000:]}")
        told = json.loads(answer)
        self.seconds.append(told["seconds"])
        self.outside.append(told["outside"])
        self.facts |= told

    def warm_up(self) -> None:
        """Load, and train an epoch that does not count.

        Raises:
            RuntimeError: as for `turn`.
        """
        self.tell()
        self.turn()
        self.facts["first"] = self.seconds[0]
        self.seconds.clear()
        self.outside.clear()

    def stop(self) -> None:
        """No more turns: the process ends itself, and where it does not within a minute, it is ended."""
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def named(text: str) -> tuple[str, str]:
    """`WHO-WAY` as an argument says it.

    Raises:
        ArgumentTypeError: it is no such thing.
    """
    who, _, way = text.partition("-")
    if who not in ("kit", "bare", "trl", "llamafactory") or not way:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected kit-, bare-, trl- or llamafactory-, and a way such as packed"
        )
    return who, way


def compete(
    work: Path, given: argparse.Namespace, wanted: list[tuple[str, str]], peaks: dict[str, float]
) -> list[Contestant]:
    """Start everybody, and let them take turns: there and back, so that nobody is always first."""
    contestants: list[Contestant] = []
    try:
        for who, way in wanted:
            contestants.append(start(work, given.method, who, way, given.llamafactory_python))
            contestants[-1].warm_up()
        for turn in range(given.turns):
            for kind in peaks:
                peaks[kind] = max(peaks[kind], matmul_rate(kind))
            for one in contestants if turn % 2 == 0 else contestants[::-1]:
                one.turn()
    finally:
        for one in contestants:
            one.stop()
    return contestants


def start(work: Path, method: str, who: str, way: str, llamafactory_python: Path | None = None) -> Contestant:
    """A contestant's process, without this one's view of where modules are where it has other libraries."""
    foreign = who == "llamafactory"
    python = str(llamafactory_python) if foreign else sys.executable
    script = ["train_llamafactory.py"] if foreign else ["train_ways.py"]
    words = [method, way] if foreign else [method, who, way]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    paths = [] if foreign else [str(HERE.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    env["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    log = work / f"{method}-{who}-{way}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [python, "-c", BOOT, str(HERE), *script, str(work), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=env,
        )
    return Contestant(who, way, process, log)


BOOT = """
import runpy, sys
here, script = sys.argv[1:3]
sys.argv = sys.argv[2:]
sys.path.append(here)
runpy.run_path(f"{here}/{script}", run_name="__main__")
"""
"""Runs a script with its folder last where modules are looked for: `evaluate.py` lies there too."""


def matmul_rate(kind: str, size: int = 1024, seconds: float = 0.5) -> float:
    """FLOP a processor second of square matrix products on one thread, the quickest of several."""
    import torch

    left = torch.randn(size, size, dtype=getattr(torch, kind))
    best, until = 0.0, time.process_time() + seconds
    while time.process_time() < until:
        began = time.process_time()
        left @ left
        best = max(best, 2 * size**3 / (time.process_time() - began))
    return best


def heading(given: argparse.Namespace, facts: dict[str, Any], peaks: dict[str, float], torch: str) -> str:
    """What was measured."""
    rates = ", ".join(f"{kind} {rate / 1e9:,.0f}" for kind, rate in peaks.items())
    return (
        f"{given.method}, shape {given.shape}, {facts['rows']} rows of {facts['tokens']:,} tokens, "
        f"longest {max(facts['lengths'])}, {given.turns} turns, torch {torch}\n"
        f"matrix products of this processor, GFLOP a second: {rates}\n"
    )


def table(contestants: list[Contestant], facts: dict[str, Any], flops: float, peak: float | None) -> str:
    """A line a contestant: rate, both of the kit's ways against it, MFU where the peak is known, memory."""
    kits = [one for one in contestants if one.who == "kit"]
    versus = [f"{kit.name} is so many times as fast" for kit in kits]
    head = ["", "tokens a second (spread)", *versus, "MFU", "memory MiB"]
    lines = [head, ["---"] + ["--:"] * (len(head) - 1)]
    for one in contestants:
        best = min(one.seconds)
        spread = max(one.seconds) / best - 1
        ratios = [ratio(one.seconds, kit.seconds) if kit is not one else "" for kit in kits]
        memory = (one.facts["peak"] - one.facts["before"]) / 2**20
        rate = f"{facts['tokens'] / statistics.median(one.seconds):,.0f} ({spread:.0%})"
        share = f"{flops / statistics.median(one.seconds) / peak:.1%}" if peak else "peak unknown"
        lines.append([one.name, rate, *ratios, share, f"{memory:,.0f}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def overheads(contestants: list[Contestant]) -> str:
    """What the kit's trainer adds to the bare loop on the same batches, the least of the turns of each.

    The difference of two whole epochs is lost in the noise of a busy machine; that of what is left of them
    without forward, backward, clipping and step is not.
    """
    by_name = {(one.who, one.way): one for one in contestants}
    lines = []
    for way in ("grouped", "packed"):
        if (kit := by_name.get(("kit", way))) and (bare := by_name.get(("bare", way))):
            added = (min(kit.outside) - min(bare.outside)) / min(bare.seconds)
            whole = min(kit.seconds) / min(bare.seconds) - 1
            lines.append(
                f"- {way}: the kit's trainer adds {added:.1%} to the bare loop; "
                f"whole epochs differ by {whole:+.1%}"
            )
    faults = ", ".join(f"{one.name} {one.facts['faults']:,}" for one in contestants)
    return "\n" + "\n".join([*lines, f"- page faults in the last epoch: {faults}"])


def ratio(other: list[float], own: list[float]) -> str:
    """Median, lowest and highest over turns."""
    found = [theirs / ours for theirs, ours in zip(other, own, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f}–{max(found):.2f})"
