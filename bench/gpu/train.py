"""Training on one GPU: tokens a second, memory and MFU of the kit, a bare loop and TRL, and what kernels add.

    python bench/gpu/train.py --shape qwen2.5-7b [--methods full lora qlora] [--turns 3] [--kernels]
    python bench/gpu/train.py --shape toy --device cpu      # the same lines on a laptop: that they run

Random weights of the shapes in `bench/shapes.py`; nothing is downloaded. Dialogues of mixed lengths, 32 to
a step, `--limit` tokens at most. Contestants run one after the other, each in a process of its own, for an
epoch that does not count and `--turns` that do; seconds are the wall's with all kernels done, memory is the
most that torch's allocator reserved (on a CPU: the processor's seconds, the process's memory). `defaults` of
TRL pad and checkpoint, `packed` is its quickest setting without a kernel of its own. `bare` is what nobody
can do with less. With `--kernels` the bare loop also runs packed rows by every attention that is installed,
with Liger and with torch.compile: a kernel becomes a default of the kit only where this table says so.
`--checkpointing` recomputes activations, for the kit and the bare loop.

MFU is FLOP of forward and backward over real tokens (no padding, nothing recomputed; adapters' where only
those are trained) by seconds and the device's dense bfloat16 peak. What does not fit is told.
"""

import argparse
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1]
sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() not in (BENCH, BENCH / "gpu")]
sys.path += [str(BENCH), str(BENCH.parent)]

# ruff: noqa: E402
from shapes import OURS, QWEN, flops_of_rows
from train_data import RANK, make_world
from train_race import WAYS, Contestant, named, start, table

from kit.train.flops import peak_flops


def main() -> None:
    """Measure and print a table in Markdown for each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", choices=[*OURS, *QWEN], default="qwen2.5-0.5b")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument(
        "--methods", nargs="+", choices=["full", "lora", "qlora"], default=["full", "lora", "qlora"]
    )
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--limit", type=int, default=2048)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--only", nargs="+", type=named, metavar="WHO-WAY", help="such as kit-packed")
    parser.add_argument("--checkpointing", action="store_true")
    given = parser.parse_args()
    import torch

    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU; `--shape toy --device cpu` runs the same lines without one")
    name = torch.cuda.get_device_name() if given.device == "cuda" else "cpu"
    print(f"{given.shape} on {name}, torch {torch.__version__}, longest {given.limit}, {given.turns} turns")
    with tempfile.TemporaryDirectory(prefix="casekit-bench-") as folder:
        work = Path(folder)
        batch = min(32, given.rows)
        facts = make_world(
            work, given.shape, given.rows, given.limit, batch, given.device, given.checkpointing
        )
        torch.cuda.empty_cache()
        for method in given.methods:
            flops = flops_of_rows(given.shape, method, RANK, facts["lengths"])
            done, missing = in_turn(work, given, method)
            print(f"\n{method}\n\n" + table(done, facts, flops, peak_flops(name)))
            print("".join(f"\n- {why}" for why in [*missing, *not_here(given.kernels)]))


def wanted(kernels: bool) -> list[tuple[str, str]]:
    """Who runs, and how."""
    tried = ["eager", "compile"]
    tried += [name for name, package in OPTIONAL.items() if find_spec(package)]
    return [*WAYS, *(("bare", f"packed+{name}") for name in tried if kernels)]


OPTIONAL = {
    "liger": "liger_kernel",
    "flash_attention_2": "flash_attn",
    "flash_attention_3": "flash_attn_interface",
}
"""Kernels and the packages they come in."""


def not_here(kernels: bool) -> list[str]:
    """Kernels that could not be tried."""
    if not kernels:
        return []
    missing = [(name, package) for name, package in OPTIONAL.items() if not find_spec(package)]
    return [f"{name}: not measured, `{package}` is not installed" for name, package in missing]


def in_turn(work: Path, given: argparse.Namespace, method: str) -> tuple[list[Contestant], list[str]]:
    """One contestant after the other, so that each has the device alone; and why some have no figures."""
    done, missing = [], []
    for who, way in given.only or wanted(given.kernels):
        one = start(work, method, who, way)
        try:
            one.warm_up()
            for _ in range(given.turns):
                one.turn()
        except RuntimeError as error:
            reason = "out of memory" if "OutOfMemoryError" in str(error) else str(error)
            missing.append(f"{one.name}: {reason}")
        else:
            done.append(one)
        finally:
            one.stop()
    return done, missing


if __name__ == "__main__":
    main()
