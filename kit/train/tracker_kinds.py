"""The trackers: how each is opened, is given a step, and is closed. Each keeps to its own library's rules.

Where the environment says nothing else, curves stay on this machine: TensorBoard's in the run, W&B's and
MLflow's in the project, Trackio's where it keeps them.
"""

import io
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "WANDB_ERROR_REPORTING": "false",
}
"""What is set before trackers are imported, where the user set nothing: no usage data and no reports of
errors are sent, not by W&B offline either, and a server that does not answer holds a step up for seconds, not
for the minutes of MLflow's own defaults."""
WANDB_GIVES_UP = 300.0
"""Seconds that W&B may take at the end of a run to send what is left; after them it stays on the disk."""


@dataclass(frozen=True)
class Opening:
    """What a tracker is told of a run."""

    run: Path
    """The run's folder; its name is the run's."""
    root: Path
    """The folder that `runs/` lies in."""
    project: str
    settings: Mapping[str, Any]
    """The resolved settings, flat: `train.learning_rate`."""
    step: int
    """That the run goes on from; 0 where it begins."""
    known: Mapping[str, str]
    """By tracker, what it called this run in an earlier session."""


@dataclass(frozen=True)
class Tracker:
    """An open tracker."""

    id: str
    """What it calls the run; empty where it needs no name to find it again."""
    said: str
    """Where the curves are, for the terminal; empty where nothing needs to be said."""
    log: Callable[[int, Mapping[str, float]], None]
    """Takes a step and its values."""
    find: Callable[[int, str, str], None]
    """Takes a step, the name of what the watch found there, and its words."""
    end: Callable[[str], None]
    """Takes how the run ended: `finished`, `interrupted` or `failed`."""


def tensorboard(told: Opening) -> Tracker:
    """Curves in `runs/<id>/tensorboard`; a resumed run forgets those after the step it continues from."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(log_dir=str(told.run / "tensorboard"), purge_step=told.step + 1)

    def log(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    def find(step: int, name: str, words: str) -> None:
        writer.add_text(f"watch/{name}", words, step)

    if not told.step:
        table = [f"| `{name}` | `{value}` |" for name, value in told.settings.items()]
        writer.add_text("settings", "\n".join(["| setting | value |", "|---|---|", *table]), 0)
    return Tracker(id="", said="", log=log, find=find, end=lambda status: writer.close())


def wandb(told: Opening) -> Tracker:
    """A run of W&B: sent where there is a login or WANDB_MODE says so, else kept in the folder `wandb`."""
    import wandb

    known = told.known.get("wandb")
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", told.project),
        name=told.run.name,
        id=known or f"{told.run.name}-{secrets.token_hex(3)}",  # of all machines that share the project
        resume="allow",
        dir=str(told.root),
        config=None if known else dict(told.settings),
        mode=None if os.environ.get("WANDB_MODE") or _logged_in(wandb) else "offline",
        settings=wandb.Settings(silent=True, console="off", finish_timeout=WANDB_GIVES_UP),
    )
    run.define_metric("*", step_metric="step")  # its own count cannot go back, as a resumed run does
    said = f"offline; `wandb sync` in {told.root} sends it" if run.offline else run.url or ""

    def find(step: int, name: str, words: str) -> None:
        run.alert(title=name, text=f"step {step}: {words}", level=wandb.AlertLevel.WARN)
        run.summary[f"watch/{name}"] = f"step {step}: {words}"

    return Tracker(
        id=run.id,
        said=said,
        log=lambda step, values: run.log({"step": step, **values}),
        find=find,
        end=lambda status: run.finish(exit_code=0 if status == "finished" else 1),
    )


def _logged_in(wandb: Any) -> bool:
    """Whether W&B has a key; it would ask for one in the terminal."""
    import netrc

    settings = wandb.setup().settings
    if settings.api_key or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        logins = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    return logins.authenticators(urlsplit(settings.base_url).hostname or "") is not None


def mlflow(told: Opening) -> Tracker:
    """A run of MLflow: on the server of MLFLOW_TRACKING_URI, else in the project's `mlflow.db`."""
    import mlflow
    from mlflow.entities import Metric, Param

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table that it makes
    server = os.environ.get("MLFLOW_TRACKING_URI")
    where = server or f"sqlite:///{told.root / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=where)
    known = told.known.get("mlflow")
    if known:
        client.update_run(known, status="RUNNING")
    else:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", told.project)
        experiment = client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else client.create_experiment(name)
        known = client.create_run(number, run_name=told.run.name).info.run_id
        params = [Param(name, str(value)) for name, value in told.settings.items()]
        for first in range(0, len(params), 100):  # so many it takes at once
            client.log_batch(known, params=params[first : first + 100])
    run_id = known

    def log(step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        client.log_batch(run_id, metrics=metrics)

    ends = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
    return Tracker(
        id=run_id,
        said=urlsplit(server).hostname or server if server else f"`mlflow ui --backend-store-uri {where}`",
        log=log,
        find=lambda step, name, words: client.set_tag(run_id, f"watch.{name}", f"step {step}: {words}"),
        end=lambda status: client.set_terminated(run_id, ends[status]),
    )


def trackio(told: Opening) -> Tracker:
    """A run of Trackio, in its folder on this machine; in a Space or on a server by its own variables."""
    import trackio

    known = told.known.get("trackio")
    with quiet():
        run = trackio.init(
            project=told.project,
            name=known or told.run.name,
            resume="allow" if known else "never",
            config=dict(told.settings),
            embed=False,
        )

    def find(step: int, name: str, words: str) -> None:
        with quiet():
            run.alert(title=name, text=words, level=trackio.AlertLevel.WARN, step=step)

    def end(status: str) -> None:
        with quiet():
            trackio.finish()

    return Tracker(
        id=run.name,
        said=f"`trackio show --project {told.project}`",
        log=lambda step, values: run.log(dict(values), step=step),
        find=find,
        end=end,
    )


def quiet() -> redirect_stdout[io.StringIO]:
    """Keep what Trackio prints off stdout, which is the command's own."""
    return redirect_stdout(io.StringIO())


OPEN: dict[str, Callable[[Opening], Tracker]] = {
    "tensorboard": tensorboard,
    "wandb": wandb,
    "mlflow": mlflow,
    "trackio": trackio,
}
