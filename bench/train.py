"""How fast training is, beside a bare PyTorch loop, TRL and LLaMA-Factory: same model, tokens and minutes.

    python bench/train.py [--method full|lora|qlora] [--turns 5] [--llamafactory-python PATH]

Dialogues of mixed lengths train a Qwen3 with random weights on a CPU, 32 to a step. Every contestant is a
process of its own that trains on; they take their epochs by turns, after one that does not count, so that all
meet the same noise of a busy machine. Seconds are the processor's, on one thread. An epoch is the same tokens
for all. Rates are ratios: the median over turns of what the kit needs, against what the other does in the same
turn, lowest and highest in brackets. `defaults` of TRL and of LLaMA-Factory pad rows in random order and
checkpoint gradients; `packed` is the quickest of their own settings that were found. `bare` does nothing but
load, forward, backward, clip and step, on the kit's model in the kit's precision, and `grouped` and `packed` on
the kit's batches: what the kit takes above it is its trainer's overhead.

MFU is the share of this processor's own matrix products (bfloat16, measured in between) that forward and
backward passes over real tokens need, without padding, without recomputation. Memory is the most that a process
held above what it held once its libraries were loaded.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Python looks for modules beside a script first, and would take `evaluate.py` for the library.
HERE = Path(__file__).resolve().parent
sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != HERE]
sys.path.append(str(HERE))

# ruff: noqa: E402
from train_data import make_world

KIT = [("kit", "grouped"), ("kit", "packed")]
OTHERS = [("bare", "padded"), ("bare", "grouped"), ("bare", "packed"), ("trl", "defaults"), ("trl", "packed")]
FACTORY = [("llamafactory", "defaults"), ("llamafactory", "packed")]


@dataclass
class Contestant:
    """A process that trains an epoch when it is asked to."""

    who: str
    way: str
    process: subprocess.Popen[str]
    log: Path
    cpu: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As tables call it."""
        return f"{self.who}, {self.way}"

    def turn(self) -> None:
        """Train an epoch.

        Raises:
            RuntimeError: the process has ended; with the end of what it printed.
        """
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError(f"{self.name} ended:\n{self.log.read_text(errors='replace')[-2000:]}")
        told = json.loads(answer)
        self.cpu.append(told["cpu"])
        self.facts |= told

    def stop(self) -> None:
        """No more turns: the process ends itself."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=60)


def main() -> None:
    """Measure and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--method", choices=["full", "lora", "qlora"], default="full")
    parser.add_argument("--shape", choices=["toy", "small", "wide"], default="small")
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--limit", type=int, default=512)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", nargs="+", metavar="WHO-WAY", help="such as kit-packed bare-packed")
    parser.add_argument("--llamafactory-python", type=Path, help="of an environment with LLaMA-Factory")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    wanted = [*KIT, *OTHERS, *(FACTORY if given.llamafactory_python else [])]
    if given.only:
        wanted = [one for one in wanted if "-".join(one) in given.only]
    with tempfile.TemporaryDirectory(prefix="casekit-bench-") as name:
        work = Path(name)
        facts = make_world(work, given.shape, given.rows, given.limit, min(32, given.rows), threads=1)
        peaks = {"bfloat16": 0.0, "float32": 0.0}
        contestants = compete(work, given, wanted, peaks)
        flops = flops_of(work, given.method, facts["lengths"])
    print(heading(given, facts, peaks, torch.__version__))
    print(table(contestants, facts, flops, peaks["bfloat16"]))
    if not given.llamafactory_python:
        print("\nLLaMA-Factory was not measured: `--llamafactory-python` was not given.")


def compete(
    work: Path, given: argparse.Namespace, wanted: list[tuple[str, str]], peaks: dict[str, float]
) -> list[Contestant]:
    """Start everybody, and let them take turns: there and back, so that nobody is always first."""
    contestants: list[Contestant] = []
    try:
        for who, way in wanted:
            contestants.append(start(work, given, who, way))
            contestants[-1].turn()  # which warms up, and does not count
            contestants[-1].cpu.clear()
        for turn in range(given.turns):
            for kind in peaks:
                peaks[kind] = max(peaks[kind], matmul_rate(kind))
            for one in contestants if turn % 2 == 0 else contestants[::-1]:
                one.turn()
    finally:
        for one in contestants:
            one.stop()
    return contestants


def start(work: Path, given: argparse.Namespace, who: str, way: str) -> Contestant:
    """A contestant's process, without this one's view of where modules are where it has other libraries."""
    foreign = who == "llamafactory"
    python = str(given.llamafactory_python) if foreign else sys.executable
    script = ["train_llamafactory.py"] if foreign else ["train_ways.py"]
    words = [given.method, way] if foreign else [given.method, who, way]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    env["PYTHONPATH"] = "" if foreign else str(HERE.parent)
    log = work / f"{who}-{way}.log"
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
"""Runs a script with its folder last, not first, where modules are looked for: `evaluate.py` lies there too."""


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


def flops_of(work: Path, method: str, lengths: list[int]) -> float:
    """FLOP of forward and backward over an epoch's rows, each alone; of an adapter's where there is one."""
    import torch
    from lora_speed import counted
    from train_ways import settings
    from transformers import AutoModelForCausalLM

    from kit.train.methods import add_adapter

    facts = json.loads((work / "facts.json").read_text(encoding="utf-8"))
    model = AutoModelForCausalLM.from_pretrained(work / "base", dtype=torch.float32, attn_implementation="eager")
    if method != "full":
        model = add_adapter(model, settings(work, "lora", "grouped", facts).method)
    model.train()
    short, long = 64, 256  # the count is a * n + b * n^2
    at_short, at_long = counted(model, 1, short), counted(model, 1, long)
    b = (at_long / long - at_short / short) / (long - short)
    a = at_short / short - b * short
    return sum(a * n + b * n * n for n in lengths)


def heading(given: argparse.Namespace, facts: dict[str, Any], peaks: dict[str, float], torch: str) -> str:
    """What was measured."""
    rates = ", ".join(f"{kind} {rate / 1e9:,.0f}" for kind, rate in peaks.items())
    return (
        f"{given.method}, shape {given.shape}, {facts['rows']} rows of {facts['tokens']:,} tokens, "
        f"longest {max(facts['lengths'])}, {given.turns} turns, torch {torch}\n"
        f"matrix products of this processor, GFLOP a second: {rates}\n"
    )


def table(contestants: list[Contestant], facts: dict[str, Any], flops: float, peak: float) -> str:
    """A line a contestant: rate, both of the kit's ways against it, MFU, memory."""
    kits = [one for one in contestants if one.who == "kit"]
    versus = [f"{kit.name} is so many times as fast" for kit in kits]
    head = ["", "tokens a second (spread)", *versus, "MFU", "memory MiB"]
    lines = [head, ["---"] + ["--:"] * (len(head) - 1)]
    for one in contestants:
        best = min(one.cpu)
        spread = max(one.cpu) / best - 1
        ratios = [ratio(one.cpu, kit.cpu) if kit is not one else "" for kit in kits]
        memory = (one.facts["peak"] - one.facts["before"]) / 2**20
        rate = f"{facts['tokens'] / statistics.median(one.cpu):,.0f} ({spread:.0%})"
        share = f"{flops / statistics.median(one.cpu) / peak:.0%}"
        lines.append([one.name, rate, *ratios, share, f"{memory:,.0f}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ratio(other: list[float], own: list[float]) -> str:
    """Median, lowest and highest over turns."""
    found = [theirs / ours for theirs, ours in zip(other, own, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f}–{max(found):.2f})"


if __name__ == "__main__":
    main()
