"""Whole user paths: a scaffolded project, the command line, a report. Slower than the rooms' own tests."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Casekit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def casekit() -> Casekit:
    """The installed command in a process of its own, as a user runs it."""

    def run(*words: str, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("casekit")), *words],
            capture_output=True,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"},
        )
        if expect is not None:
            assert done.returncode == expect, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run
