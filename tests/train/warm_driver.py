"""A warm process that runs `casekit` again and again, each time in a fork, and lets something happen to it.

Importing torch and TRL takes seconds, so it is done once. Each line on stdin is a JSON object: `words` of the
command line, `plot` (a function below, with its arguments), `output` (a file) and `folder` (where it runs);
the answer is the exit status, negative for a signal.
"""

import ctypes
import gc
import json
import os
import re
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Event = Callable[[str], None]


def watch(on_event: Event) -> None:
    """Call `on_event` with a name for every step and every change to files of a run, before it happens.

    `half FILE` comes when so much of a file of weights or states is written.
    """
    import safetensors.torch
    import torch
    from transformers.trainer_callback import CallbackHandler

    removing = [""]

    def named(path: str) -> str:
        path = re.sub(r"^(.*/)?runs/[^/]+/?", "", path)
        return re.sub(r"\d+-[0-9a-f]{8}|\d+", "N", path)

    def audited(event: str, args: tuple) -> None:
        paths = [str(word) for word in args[:2] if isinstance(word, (str, Path))]
        in_run = any(re.search(r"(^|/)runs/", path) for path in paths)
        if event == "shutil.rmtree":
            removing[0] = named(paths[0]) if in_run else ""
        elif event == "os.remove" and removing[0] and args[1] != -1:  # by its name within that folder
            on_event(f"remove from {removing[0]}")
        elif not in_run:
            return
        elif event == "open" and set(str(args[1])) & set("wax+"):
            on_event(f"open {named(paths[0])}")
        elif event == "os.rename":
            on_event(f"rename {' to '.join(map(named, paths))}")

    def halved(original: Callable, place: int) -> Callable:
        def write(*args: object, **kwargs: object) -> object:
            done = original(*args, **kwargs)
            path = Path(str(args[place]))
            whole = path.read_bytes()
            os.truncate(path, len(whole) // 2)
            on_event(f"half {named(str(path))}")
            path.write_bytes(whole)
            return done

        return write

    step = CallbackHandler.on_step_begin

    def stepped(*args: object, **kwargs: object) -> object:
        on_event("step")
        return step(*args, **kwargs)

    CallbackHandler.on_step_begin = stepped
    torch.save = halved(torch.save, 1)
    safetensors.torch.serialize_file = halved(safetensors.torch.serialize_file, 1)
    sys.addaudithook(audited)


def record(out: str) -> None:
    """Write the name of every event to a file."""
    file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    watch(lambda name: os.write(file, f"{name}\n".encode()))


def kill(event: str, times: int) -> None:
    """SIGKILL at the n-th time of an event; a line of metrics is half written then."""
    left = [times]

    def happened(name: str) -> None:
        left[0] -= name == event
        if left[0] == 0:
            if name == "open metrics.jsonl":
                (curves,) = Path.cwd().glob("runs/*/metrics.jsonl")
                file = os.open(curves, os.O_WRONLY | os.O_APPEND)
                os.write(file, b'{"step": 7, "ki')
            os.kill(os.getpid(), signal.SIGKILL)

    watch(happened)


def send(moment: str, number: int, times: int) -> None:
    """Send itself a signal, so often, the first time that a moment comes after the first step began."""
    import torch
    from transformers import Trainer
    from transformers.trainer_callback import CallbackHandler
    from trl import SFTTrainer

    import kit.evaluate.generate
    import kit.train.setup

    left = [times]
    come = {"loading": moment == "loading", "stepping": False, "answering": moment != "answers"}

    def ahead_of(owner: object, name: str, do: Callable[[], None]) -> None:
        original = getattr(owner, name)

        def told(*args: object, **kwargs: object) -> object:
            do()
            return original(*args, **kwargs)

        setattr(owner, name, told)

    def signalled() -> None:
        while left[0] and (come["loading"] or come["stepping"]) and come["answering"]:
            left[0] -= 1
            os.kill(os.getpid(), number)

    ahead_of(CallbackHandler, "on_step_begin", lambda: come.update(stepping=True))
    ahead_of(kit.evaluate.generate, "generate", lambda: come.update(answering=True))
    owner, name = {
        "loading": (kit.train.setup, "load_for_training"),
        "step": (Trainer, "compute_loss"),
        "validation": (SFTTrainer, "prediction_step"),
        "answers": (torch.nn.functional, "embedding"),
        "scoring": (kit.evaluate.task_score, "score_answers"),
        "saving": (Trainer, "_save_optimizer_and_scheduler"),
        "golden": (kit.train.setup, "save_model"),
    }[moment]
    ahead_of(owner, name, signalled)


def limit_files(size: int, moment: str, times: int) -> None:
    """From a moment on let no file grow over so many bytes: writing more is an error (EFBIG)."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    before(moment, times, limit)


def fill_disk(runs: str, size: int, left: int, moment: str, times: int) -> None:
    """Put `runs` on a disk of its own, of so many bytes, and fill it but for `left` of them at a moment.

    What is on that disk is seen by this process alone and copied to `runs` when it ends. Exit status 77: the
    system does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    new_user, new_mounts = 0x10000000, 0x00020000
    user, group = os.getuid(), os.getgid()
    if libc.unshare(new_user | new_mounts):
        os._exit(77)
    ours = {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
    try:
        for name, words in ours.items():
            Path("/proc/self", name).write_text(words)
    except OSError:
        os._exit(77)
    mounted = f"{runs}-mounted"
    Path(mounted).mkdir()
    size_of = f"size={size}".encode()
    if libc.mount(b"tmpfs", mounted.encode(), b"tmpfs", 0, size_of):
        os._exit(77)
    Path(runs).symlink_to(mounted)

    def fill() -> None:
        free = shutil.disk_usage(runs).free
        Path(mounted, "filler").write_bytes(bytes(max(free - left, 0)))

    def keep() -> None:
        Path(runs).unlink()
        shutil.copytree(mounted, runs, ignore=shutil.ignore_patterns("filler"))

    before(moment, times, fill)
    ends.append(keep)


def beside(words: list[str], output: str) -> None:
    """Let another process run `casekit` to its end, just before this one's run gets a folder; its exit status
    goes to the end of its output."""
    import kit.train.stages

    original = kit.train.stages.examples_of
    here = str(Path.cwd())

    def meanwhile(*args: Any, **kwargs: Any) -> Any:
        kit.train.stages.examples_of = original
        child = os.fork()
        if child == 0:
            run(words, [], output, here)
        _, status = os.waitpid(child, 0)
        with Path(output).open("a", encoding="utf-8") as file:
            file.write(f"\nexit {os.waitstatus_to_exitcode(status)}\n")
        return original(*args, **kwargs)

    kit.train.stages.examples_of = meanwhile


def before(moment: str, times: int, do: Callable[[], None]) -> None:
    """Do something when a checkpoint (`save`) or a golden one (`golden`) is about to be written."""
    from kit.train.golden import Golden
    from kit.train.saving import ResumableTrainer

    owner, name = {"save": (ResumableTrainer, "_save_checkpoint"), "golden": (Golden, "keep")}[moment]
    original, left = getattr(owner, name), [times]

    def told(*args: object, **kwargs: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            do()
        return original(*args, **kwargs)

    setattr(owner, name, told)


PLOTS = {plot.__name__: plot for plot in (record, kill, send, limit_files, fill_disk, beside)}
ends: list[Callable[[], object]] = []
"""What is done when the command has ended."""


def run(words: list[str], plot: list, output: str, folder: str) -> None:
    """Be `casekit`, in a fork that ends here."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(folder)
    status = 70
    try:
        if plot:
            name, *arguments = plot
            PLOTS[name](*arguments)
        from kit.cli import main

        sys.argv = ["casekit", *words]
        main()
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    for end in ends:
        end()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def serve() -> None:
    """Import what is heavy, then do what is asked until stdin ends."""
    import kit.cli
    import kit.evaluate.task_score
    import kit.pipeline
    import kit.train.setup

    assert kit.cli and kit.pipeline
    gc.collect()
    gc.freeze()  # a fork that collects garbage would copy every page of what was imported
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            run(**asked)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    os._exit(0)  # taking torch down in order takes seconds


if __name__ == "__main__":
    serve()
