"""What a tracker has of a run, read back from where it lies by the tracker's own means where it has some."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Read:
    """One run, as a tracker shows it."""

    name: str
    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    """Value by step, of each curve."""
    findings: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    status: str = ""
    """Empty where the tracker keeps none."""

    def add(self, step: int, name: str, value: float) -> None:
        self.curves.setdefault(name, {})[step] = value


def read_tensorboard(root: Path, project: str) -> list[Read]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = []
    for folder in root.glob("runs/*/tensorboard"):
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()
        read = Read(folder.parent.name)
        for name in events.Tags()["scalars"]:
            for event in events.Scalars(name):
                read.add(event.step, name, event.value)
        for tag in events.Tags()["tensors"]:
            text = events.Tensors(tag)[-1].tensor_proto.string_val[0].decode()
            if tag.startswith("settings"):
                rows = [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]
                read.settings = {name.strip("`"): value.strip("`") for name, value in rows}
            else:
                read.findings[tag.removesuffix("/text_summary").removeprefix("watch/")] = text
        found.append(read)
    return found


def read_trackio(root: Path, project: str) -> list[Read]:
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    found = []
    for run in trackio.Api().runs(project):
        read = Read(run.name, settings={name: str(value) for name, value in (run.config or {}).items()})
        for line in SQLiteStorage.get_logs(project, run.name):
            for name, value in line.items():
                if name not in ("step", "timestamp"):
                    read.add(line["step"], name, value)
        read.findings = {alert["title"]: alert["text"] for alert in run.alerts()}
        found.append(read)
    return found


def read_mlflow(root: Path, project: str) -> list[Read]:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(project)
    found = []
    for run in client.search_runs([experiment.experiment_id]):
        tags = {name: text for name, text in run.data.tags.items() if name.startswith("watch.")}
        findings = {name.removeprefix("watch."): text for name, text in tags.items()}
        read = Read(run.info.run_name, findings=findings, settings=run.data.params, status=run.info.status)
        for name in run.data.metrics:
            for metric in client.get_metric_history(run.info.run_id, name):
                read.add(metric.step, name, metric.value)
        found.append(read)
    return found


def read_wandb(root: Path, project: str) -> list[Read]:
    """Of the sessions of one id one run, as `wandb sync` joins them."""
    found: dict[str, Read] = {}
    for file in sorted(root.glob("wandb/offline-run-*/*.wandb")):
        records = list(wandb_records(file))
        (run,) = [record.run for record in records if record.WhichOneof("record_type") == "run"]
        assert run.project == project
        read = found.setdefault(run.run_id, Read(run.display_name))
        read.settings |= {item.key: item.value_json.strip('"') for item in run.config.update}
        for record in records:
            kind = record.WhichOneof("record_type")
            if kind == "history":
                items = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
                step = int(items.pop("step"))
                for name, value in items.items():
                    if not name.startswith("_"):
                        read.add(step, name, float(value))
            elif kind == "alert":
                read.findings[record.alert.title] = record.alert.text
            elif kind == "exit":
                read.status = str(record.exit.exit_code)
    return list(found.values())


def wandb_records(file: Path) -> Any:
    """The records of an offline run: a LevelDB log of protocol buffers, blocks of 32 KiB, after 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # what is left of a block has no room for a head
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # the whole, or its last part
            yield Record.FromString(whole)
            whole = b""


READERS: dict[str, Callable[[Path, str], list[Read]]] = {
    "tensorboard": read_tensorboard,
    "trackio": read_trackio,
    "mlflow": read_mlflow,
    "wandb": read_wandb,
}
