"""Work on many batches in several processes, with results in the order of the batches."""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from multiprocessing.connection import wait
from typing import Any, TypeVar

Batch = TypeVar("Batch")
Result = TypeVar("Result")

_FORKED = sys.platform == "linux"
"""Processes are forked where that is safe: then nothing is loaded twice."""
_WORTH_IT = 4  # batches: fewer are done before other processes have begun
_AHEAD = 3  # batches a process that wait for it, so that a source larger than memory is never read ahead


def ordered_map(
    work: Callable[[Batch], Result], batches: Iterator[Batch], processes: int | None
) -> Iterator[Result]:
    """`map`, in so many processes.

    Args:
        work: what is done with a batch. Where processes are not forked, it is sent to them; what cannot be
            sent, as a project's hook that is a lambda, is done in this process alone.
        batches: asked for as they are needed.
        processes: None takes one for each processor, and this process alone if there are few batches.

    Raises:
        concurrent.futures.process.BrokenProcessPool: a process was killed, as by want of memory.
    """
    if processes is None:
        head = list(islice(batches, _WORTH_IT))
        batches = chain(head, batches)
        processes = processors() if len(head) == _WORTH_IT else 1
    if processes == 1 or not (_FORKED or _can_be_sent(work)):
        yield from map(work, batches)
        return
    with _executor(work, processes) as executor:
        waiting: deque[Future[Result]] = deque()
        for batch in batches:
            waiting.append(executor.submit(_do, batch))
            if len(waiting) == _AHEAD * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _can_be_sent(work: Callable[[Any], Any]) -> bool:
    try:
        pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError):  # each for another kind of function
        return False
    return True


def processors() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


_work: Callable[[Any], Any]
"""What a process of the pool does; `_begin` sets it."""


@contextmanager
def _executor(work: Callable[[Batch], Result], processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that know what to do."""
    context = multiprocessing.get_context("fork" if _FORKED else "spawn")
    executor = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(work,))
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads do not survive a fork, and one is enough
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before


def _begin(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the others
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    """End this process when its parent is gone, even killed: it would wait for work for ever."""
    wait([sentinel])
    os._exit(1)


def _do(batch: Any) -> Any:
    return _work(batch)
