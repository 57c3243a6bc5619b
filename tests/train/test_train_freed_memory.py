"""What tensors give back stays with the process for the next ones, instead of being asked for anew."""

import ctypes
import subprocess
import sys

import pytest

from kit.train import stages
from kit.train.stages import train

GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt")
FAULTS = """
import resource
from kit.memory import keep_freed_memory

def faults(times=20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        blocks = [bytes([number]) * (12 << 20) for number in range(8)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
assert keep_freed_memory()
faults()
print(before, faults())
"""


@pytest.mark.skipif(not GLIBC, reason="another C library than glibc: nothing is changed there")
def test_freed_memory_is_not_asked_for_anew() -> None:
    told = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True).stdout
    before, after = map(int, told.split())
    assert before > 20 * 1000, "each block anew, page by page"
    assert after < before / 100


def test_another_system_is_left_alone(monkeypatch) -> None:
    monkeypatch.setattr("kit.memory.sys.platform", "darwin")
    monkeypatch.setattr("kit.memory.ctypes.CDLL", lambda name: pytest.fail("looked for mallopt"))
    assert not stages.keep_freed_memory()


@pytest.mark.slow
def test_a_run_on_a_cpu_keeps_it_before_the_model_is_loaded(settings, prepared, tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(stages, "keep_freed_memory", lambda: done.append("kept"))
    monkeypatch.setattr("kit.train.setup.load_for_training", lambda *_: pytest.fail(str(done)))
    with pytest.raises(pytest.fail.Exception, match=r"\['kept'\]"):
        train(settings("lora"), tmp_path, prepared, task_score=None)
