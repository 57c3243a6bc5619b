"""Where the time of a packed pass goes on a GPU, kernel by kernel.

    python bench/gpu/profile.py --shape qwen2.5-7b --method lora [--way packed+compile]
    python bench/gpu/profile.py --shape toy --device cpu     # that the lines run

The bare loop of `bench/train_ways.py`, one step of it after others that do not count, under torch's profiler.
Kernels are sorted by what their names say they do; `idle` is the wall's time in which the GPU had nothing to
do. The profiler itself slows what launches kernels, so idle is an upper bound.
"""

import argparse
import re
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parents[1]
sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() not in (BENCH, BENCH / "gpu")]
sys.path += [str(BENCH), str(BENCH.parent)]

# ruff: noqa: E402
from shapes import OURS, QWEN
from train_data import make_world
from train_ways import batches, load_bare, loss_of, settings

SORTS = {
    "attention": r"flash|fmha|attention|attn",
    "matrix products": r"gemm|cutlass|cublas|nvjet|xmma|matmul|addmm|::mm",
    "4-bit weights": r"dequant|kgemm_4bit|quant",
    "optimiser": r"adam|multi_tensor|foreach",
    "loss": r"logprob|log_softmax|nll|cross_entropy|chunk",
    "norms": r"norm",
    "copies and casts": r"copy|memcpy|memset|cast|direct_copy",
    "compiled": r"^triton_",
    "element by element": r"elementwise|vectorized|reduce|fill",
}
"""What a kernel does, by its name; the first that fits counts."""


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", choices=[*OURS, *QWEN], default="qwen2.5-7b")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--method", choices=["full", "lora", "qlora"], default="lora")
    parser.add_argument("--way", default="packed")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--limit", type=int, default=2048)
    parser.add_argument("--work", type=Path, help="a folder of `bench/gpu/train.py`, used as it is")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="casekit-bench-") as folder:
        work = given.work or Path(folder)
        if not given.work:
            make_world(work, given.shape, given.rows, given.limit, min(32, given.rows), given.device)
        print(f"\n{given.method}, {given.way}\n\n" + profiled(work, given))


def profiled(work: Path, given: argparse.Namespace) -> str:
    """The table."""
    import json

    import torch
    from torch.profiler import ProfilerActivity, profile

    facts = json.loads((work / "facts.json").read_text(encoding="utf-8"))
    config = settings(work, given.method, "bare", given.way, facts)
    model, mixed = load_bare(config, given.way)
    rows = json.loads((work / "tokens.json").read_text(encoding="utf-8"))
    steps = list(batches(rows, given.way.split("+")[0], 0, config, model))
    cuda = model.device.type == "cuda"

    def step(passes: list[Any]) -> None:
        labels = sum(int((one["labels"] != -100).sum()) for one in passes)
        for one in passes:
            loss_of(model, one, labels, mixed).backward()
        model.zero_grad()

    for passes in steps:  # compiles, and fills the allocator
        step(passes)
    if cuda:
        torch.cuda.synchronize()
    kinds = [ProfilerActivity.CUDA] if cuda else [ProfilerActivity.CPU]
    began = time.perf_counter()
    with profile(activities=kinds) as found:
        step(steps[0])
        if cuda:
            torch.cuda.synchronize()
        wall = time.perf_counter() - began
    return table(found.key_averages(), wall, cuda)


def table(events: Any, wall: float, cuda: bool) -> str:
    """Time by sort of kernel, and the kernels that take longest."""
    spent: dict[str, float] = defaultdict(float)
    for event in events:
        spent[event.key] += (event.self_device_time_total if cuda else event.self_cpu_time_total) / 1e6
    sorts: dict[str, float] = defaultdict(float)
    for name, seconds in spent.items():
        sorts[sort_of(name)] += seconds
    busy = sum(spent.values())
    lines = [
        f"a step {wall * 1e3:,.0f} ms, kernels {busy * 1e3:,.0f} ms",
        "",
        "| what | share |",
        "|---|---|",
    ]
    largest = sorted(sorts.items(), key=lambda one: -one[1])
    lines += [f"| {name} | {seconds / wall:.1%} |" for name, seconds in largest]
    lines += [f"| idle | {max(0.0, 1 - busy / wall):.1%} |", "", "| kernel | ms |", "|---|---|"]
    longest = sorted(spent.items(), key=lambda one: -one[1])[:16]
    lines += [f"| `{name[:90]}` | {seconds * 1e3:,.1f} |" for name, seconds in longest]
    return "\n".join(lines)


def sort_of(kernel: str) -> str:
    """What a kernel does, see `SORTS`."""
    return next((sort for sort, word in SORTS.items() if re.search(word, kernel, re.IGNORECASE)), "other")


if __name__ == "__main__":
    main()
