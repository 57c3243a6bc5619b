"""What must hold on a GPU; with the small base and the projects of the training tests.

    pytest tests/gpu --durations=15                                # on a machine with a CUDA GPU
    pytest tests/gpu --durations=15 -n 6 --dist loadfile           # the same, in half the time
    CASEKIT_GPU_REHEARSAL=cpu pytest tests/gpu                     # a CPU in its place: that the tests run

Runs that must be processes of their own begin at once and go on beside the other tests. What is heavy is
imported in the fixtures, for the process that deals tests out needs none of it.
"""

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gpu_memory import AnyMemory

    from kit.config.schema import Config

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / "train"), str(TESTS / "evaluate")]
REHEARSAL = os.environ.get("CASEKIT_GPU_REHEARSAL") == "cpu"


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a line that is printed when all tests are done, for a person to read."""
    return lambda line: request.node.user_properties.append(("measured", line))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was measured."""
    reports = [one for name in ("passed", "failed") for one in terminalreporter.stats.get(name, [])]
    lines = [line for one in reports for name, line in one.user_properties if name == "measured"]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights; two layers, so that `freeze` has one to leave alone."""
    from train_world import write_base

    return write_base(tmp_path_factory.mktemp("base"), num_hidden_layers=2)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 dialogues to train on, 8 to validate with."""
    from train_world import write_prepared

    return write_prepared(tmp_path_factory.mktemp("prepared"), train=48, valid=8)


@pytest.fixture(scope="session")
def pristine(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared project of six steps; to be copied."""
    from train_project import write_project

    return write_project(tmp_path_factory.mktemp("project") / "pristine", base)


@pytest.fixture
def settings(base: Path) -> "Callable[..., Config]":
    """Settings of a short run on whatever `auto` finds; keyword arguments go to `train`."""
    from kit.config.schema import Config

    def make(method: str = "full", seed: int = 42, dtype: str = "auto", **train: Any) -> Config:
        short = {
            "learning_rate": 3e-3,
            "num_train_epochs": 1,
            "global_batch_size": 8,
            "per_device_train_batch_size": 8,
            "logging_steps": 1,
            "eval_steps": 100,
            "save_steps": 100,
        }
        return Config.model_validate(
            {
                "seed": seed,
                "model": {"name": str(base), "max_length": 256, "dtype": dtype},
                "method": {"name": method},
                "train": {**short, **train},
                "hardware": {"num_threads": 1},
                "tracking": {"report_to": []},
            }
        )

    return make


@pytest.fixture
def exact_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute in float32, so that what must be equal is equal to more than bfloat16's rounding."""
    monkeypatch.setattr("kit.train.setup.mixed_precision", lambda on: None)


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A base whose activations take more memory than its weights, 16 rows of 1,500 tokens, and a folder."""
    from gpu_world import write_long
    from train_world import write_base

    deep = {"num_hidden_layers": 6, "hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 4}
    shape = {"max_position_embeddings": 4096, **({} if REHEARSAL else deep | {"head_dim": 64})}
    place = tmp_path_factory.mktemp("long")
    often = 3 if REHEARSAL else 150
    return write_base(place / "base", **shape), write_long(place / "prepared", 16, 2, often), place / "runs"


@pytest.fixture(autouse=True)
def as_on_a_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU the trainer goes other ways to the loss and to packed rows; a rehearsal goes those of a GPU.

    Not where runs are held against those of other processes, which know nothing of this.
    """
    if not REHEARSAL or request.module.__name__ == "test_gpu_resume":
        return
    import tests.varlen_on_cpu  # noqa: F401
    from kit.models.varlen import VARLEN, register
    from kit.train.trainer import CausalTrainer

    register()
    never = property(lambda trainer: False, lambda trainer, value: None)
    monkeypatch.setattr(CausalTrainer, "own_loss", never, raising=False)
    packs = "kit.train.packed.attention_for"
    monkeypatch.setattr(packs, lambda config: VARLEN if config.train.packing else None)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> "Iterator[AnyMemory]":
    """The device's memory, measured and limited; in a rehearsal it is made up."""
    from gpu_memory import CudaMemory, PretendedMemory

    held: AnyMemory = PretendedMemory(monkeypatch) if REHEARSAL else CudaMemory()
    yield held
    held.lift()


Beside = Callable[[str], Any]


@pytest.fixture(scope="session", autouse=True)
def beside(
    request: pytest.FixtureRequest, pristine: Path, base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Beside]:
    """Gives the end of a run that is a process of its own, by its name.

    Those that a test asks for begin at once; where several processes share the tests, with that test.
    """
    from gpu_beside import kill_and_resume, shard_out

    with ThreadPoolExecutor(2) as pool:
        ways = {"killed": (kill_and_resume, pristine), "sharded": (shard_out, base)}
        begun: dict[str, Future[Any]] = {}

        def begin(name: str) -> None:
            work, of_what = ways[name]
            begun[name] = pool.submit(work, of_what, tmp_path_factory.mktemp(name))

        def end(name: str) -> Any:
            if name not in begun:
                begin(name)
            return begun[name].result(timeout=240)

        wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
        alone = "PYTEST_XDIST_WORKER" not in os.environ
        for name in wanted & set(ways) if alone else ():
            if name != "sharded" or not REHEARSAL:
                begin(name)
        yield end


@pytest.fixture(scope="session")
def killed(beside: Beside) -> Any:
    """A run that was killed and resumed by the command line (`gpu_beside.kill_and_resume`)."""
    return beside("killed")


@pytest.fixture(scope="session")
def sharded(beside: Beside) -> Any:
    """What came of sharing the model out over one GPU (`gpu_beside.shard_out`)."""
    return beside("sharded")
