"""`hardware.sharding` on one GPU: what the settings say to it, and what it does all the same."""

import json

import pytest
from gpu_world import WHERE, casekit, on_a_gpu, on_cuda_only

pytestmark = [on_a_gpu, pytest.mark.slow]


@pytest.mark.parametrize("sharding", ["fsdp", "zero2"])
def test_one_process_has_nothing_to_share_out(sharding, pristine, capfd):
    words = ["train", f"hardware.sharding={sharding}", f"hardware.device={WHERE}", "--processes", "1"]
    assert casekit(*words, "-p", str(pristine)) == 2
    assert "nothing to share out" in " ".join(capfd.readouterr().err.split())


@on_cuda_only
def test_fsdp_over_one_gpu_trains_as_without_it(sharded, measured):
    """In a process of its own, with nccl; past the settings, which refuse it."""
    assert sharded.returncode == 0, sharded.stdout[-4000:]
    found = json.loads([line for line in sharded.stdout.splitlines() if line.startswith("{")][-1])
    for method in ("full", "lora"):
        assert found[f"{method}-fsdp"] == pytest.approx(found[f"{method}-none"], abs=2e-3)
        measured(f"{method}, fsdp over one GPU: losses {found[f'{method}-fsdp']}")
    if isinstance(found["full-zero2"], str):
        assert "not installed" in found["full-zero2"], found["full-zero2"]
    else:
        assert found["full-zero2"] == pytest.approx(found["full-none"], abs=0.02)
