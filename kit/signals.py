"""SIGTERM outside the steps of a training run, which `kit.train.interruption` looks after."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from kit.config.errors import Terminated


@contextmanager
def terminated_in_order() -> Iterator[None]:
    """Within the block SIGTERM raises `Terminated`, as Ctrl-C raises KeyboardInterrupt: what is open is
    closed, and the exit code is 75. Left to itself the process would be gone at once, with 143.

    Only the main thread can listen.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
