"""How fast training is, beside a bare PyTorch loop, TRL and LLaMA-Factory: same model, tokens and minutes.

    python bench/train.py [--method full|lora|qlora] [--turns 3] [--llamafactory-python PATH]

Dialogues of mixed lengths train a Qwen3 with random weights on a CPU, 32 to a step. Every contestant is a
process of its own that trains on; they take their epochs by turns, after one that does not count, so that
all meet the same noise of a busy machine. Seconds are the processor's, on one thread. An epoch is the same
tokens for all. Ratios are the median over turns, of the seconds of both in the same turn, lowest and highest
in brackets. `defaults` of TRL and of LLaMA-Factory pad rows in random order and checkpoint gradients;
`packed` is the quickest of their own settings that were found. `bare` does nothing but load, forward,
backward, clip and step, on the kit's model in the kit's precision, and `grouped` and `packed` on the kit's
batches: what the kit takes above it is its trainer's overhead, told below the table.

MFU is the share of this processor's own matrix products (bfloat16, measured in between) that forward and
backward passes over real tokens need, without padding, without recomputation. Memory is the most that a
process held above what it held once its libraries were loaded.
"""

import argparse
import sys
import tempfile
from pathlib import Path

# Python looks for modules beside a script first, and would take `evaluate.py` for the library.
HERE = Path(__file__).resolve().parent
sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != HERE]
sys.path.append(str(HERE))

# ruff: noqa: E402
from shapes import OURS, flops_of_rows
from train_data import RANK, make_world
from train_race import FACTORY, WAYS, compete, heading, named, overheads, table


def main() -> None:
    """Measure and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--method", choices=["full", "lora", "qlora"], default="full")
    parser.add_argument("--shape", choices=OURS, default="small")
    parser.add_argument("--rows", type=int, default=64, help="a multiple of 32, so that every step is whole")
    parser.add_argument("--limit", type=int, default=512)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument(
        "--only", nargs="+", type=named, metavar="WHO-WAY", help="such as bare-packed+compile"
    )
    parser.add_argument("--llamafactory-python", type=Path, help="of an environment with LLaMA-Factory")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    wanted = given.only or [*WAYS, *(FACTORY if given.llamafactory_python else [])]
    with tempfile.TemporaryDirectory(prefix="casekit-bench-") as name:
        work = Path(name)
        facts = make_world(work, given.shape, given.rows, given.limit, min(32, given.rows))
        peaks = {"bfloat16": 0.0, "float32": 0.0}
        contestants = compete(work, given, wanted, peaks)
    flops = flops_of_rows(given.shape, given.method, RANK, facts["lengths"])
    print(heading(given, facts, peaks, torch.__version__))
    print(table(contestants, facts, flops, peaks["bfloat16"]))
    print(overheads(contestants))
    if not given.llamafactory_python:
        print("\nLLaMA-Factory was not measured: `--llamafactory-python` was not given.")


if __name__ == "__main__":
    main()
