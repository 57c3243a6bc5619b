"""Settings of `hardware` that do not fit each other, or the batch that several processes share."""

from collections.abc import Iterator

from kit.config.explain import Finding
from kit.config.schema_train import Hardware, Train
from kit.config.tree import Tree, section_at
from kit.config.yaml_lines import Key


def check_hardware(tree: Tree) -> list[Finding]:
    """Everything under `hardware` of the merged tree that cannot be launched.

    Args:
        tree: all layers, merged. What the schema refuses is not looked at.
    """
    hardware = section_at(tree, "hardware", Hardware)
    if hardware is None:
        return []
    return [*_machines(hardware), *_sharding(hardware), *_batch(hardware, tree)]


def _machines(hardware: Hardware) -> Iterator[Finding]:
    if hardware.num_machines == 1 and (hardware.machine_rank or hardware.main_address):
        name = "main_address" if hardware.main_address else "machine_rank"
        message = "says which of several machines this is, and there is one"
        yield _finding(name, message, "set hardware.num_machines, or take it out")
    elif hardware.machine_rank >= hardware.num_machines:
        message = f"is {hardware.machine_rank}, and the machines are numbered from 0 to "
        yield _finding("machine_rank", f"{message}{hardware.num_machines - 1}", "give each its own number")
    if hardware.num_machines == 1:
        return
    host, _, port = (hardware.main_address or "").rpartition(":")
    if not host or not port.isdecimal():
        found = f"is {hardware.main_address!r}" if hardware.main_address else "is not set"
        hint = "give host:port of the machine with rank 0, such as 10.0.0.1:29500"
        yield _finding("main_address", f"{found}, and {hardware.num_machines} machines must meet", hint)


def _sharding(hardware: Hardware) -> Iterator[Finding]:
    if hardware.sharding == "none":
        if hardware.cpu_offload:
            message = "moves parts of a sharded model, and hardware.sharding is none"
            yield _finding("cpu_offload", message, "set hardware.sharding to fsdp, or take it out")
        return
    if hardware.cpu_offload and hardware.sharding != "fsdp":
        message = f"is for fsdp, and this release has not tried it with {hardware.sharding}"
        yield _finding("cpu_offload", message, "set hardware.sharding to fsdp, or take it out")
    if hardware.world_size == 1:
        message = f"is {hardware.sharding}, and there is one process: nothing to share out"
        yield _finding("sharding", message, "set hardware.num_processes, or sharding to none")
    if hardware.device == "cpu":
        message = f"is {hardware.sharding}, and accelerate shards on GPUs only"
        yield _finding("sharding", message, "set it to none: on CPUs each process holds the model")


def _batch(hardware: Hardware, tree: Tree) -> Iterator[Finding]:
    train = section_at(tree, "train", Train)
    if hardware.world_size == 1 or train is None:
        return
    one_pass = 1 if train.packing else train.per_device_train_batch_size
    if train.global_batch_size % (one_pass * hardware.world_size):
        passes = "" if train.packing else f" of {one_pass} sequences each"
        share, rest = divmod(train.global_batch_size, hardware.world_size)
        fits = not rest and not train.packing
        smaller = f", or train.per_device_train_batch_size {share} or a divisor of it" if fits else ""
        yield Finding(
            ("train", "global_batch_size"),
            f"`train.global_batch_size` is {train.global_batch_size}, which {hardware.world_size} processes"
            f"{passes} cannot share evenly",
            f"make it a multiple of {one_pass * hardware.world_size}" + smaller,
            needs_rest=True,
        )


def _finding(name: str, message: str, hint: str) -> Finding:
    key: Key = ("hardware", name)
    return Finding(key, f"`hardware.{name}` {message}", hint, needs_rest=True)
