"""One function a stage, with its wiring; `run` is the only place that strings the stages together.

Each function loads what its stage needs, calls it and returns the folder it left. Heavy imports stay
inside, so that importing this module costs nothing.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.config import Config, ExitCode, LoadedConfig
from kit.config.yaml_lines import load_yaml
from kit.hooks import load_hooks

if TYPE_CHECKING:
    from kit.report.build import ReportResult


def tokenizer(config: Config) -> Any:
    """The base model's tokenizer; builds tiny first where it is asked for and not yet cached."""
    from kit.models.loading import load_tokenizer

    ensure_base(config)
    return load_tokenizer(config.model)


def ensure_base(config: Config) -> None:
    """Make sure the base model can be loaded: only tiny has to be made, once a machine."""
    if config.model.name == "tiny":
        from kit.train.tiny import build_tiny

        build_tiny()


def prepare(loaded: LoadedConfig) -> Path:
    """Read, check, clean and split the data; the prepared folder."""
    from kit.data.prepare import prepare as prepare_data

    hooks = load_hooks(loaded.root)
    return prepare_data(loaded.config, loaded.root, hooks, tokenizer(loaded.config))


def train(loaded: LoadedConfig, resume: Path | None = None) -> Path:
    """Train on the prepared data, picking the golden checkpoint by the case's own metric; the run."""
    from kit.data.prepared import find_prepared
    from kit.evaluate.evaluate import task_scorer
    from kit.train.stages import train as train_model

    config, root = loaded.config, loaded.root
    hooks = load_hooks(root)
    prepared = find_prepared(config, root, hooks, tokenizer(config))
    task_score = task_scorer(config, root, prepared, hooks) if config.evaluate.metrics else None
    return train_model(config, root, prepared, task_score, resume)


def evaluate(loaded: LoadedConfig, run_id: str | None = None) -> Path:
    """Answer the held-out prompts with base and golden, and score both; the evaluation."""
    from kit.evaluate.evaluate import evaluate as evaluate_run
    from kit.train.runs import find_run

    run = find_run(loaded.root, run_id)
    config = as_trained(loaded.config, run)
    ensure_base(config)
    prepared = prepared_of(loaded.root, run)
    return evaluate_run(config, loaded.root, prepared, run, load_hooks(loaded.root))


def report(loaded: LoadedConfig, evaluation_id: str | None = None) -> "ReportResult":
    """Judge the gates and write the report; its folder and exit code."""
    from kit.evaluate.evaluate import find_evaluation, run_of
    from kit.report.build import write_report

    evaluation = find_evaluation(loaded.root, evaluation_id)
    run = run_of(loaded.root, evaluation)
    config = as_trained(loaded.config, run)
    return write_report(config, loaded.root, evaluation, run, prepared_of(loaded.root, run))


def run(loaded: LoadedConfig) -> "ReportResult":
    """The whole way: prepare, train, evaluate, report."""
    prepare(loaded)
    trained = train(loaded)
    evaluation = evaluate(loaded, trained.name)
    return report(loaded, evaluation.name)


def as_trained(config: Config, run: Path) -> Config:
    """The project's settings as they are now, but model, method, data and training as the run had them.

    So that evaluating a run made with `model=…` on the command line compares it with its own base.
    """
    tree, _ = load_yaml(run / "config.yaml")
    trained = Config.model_validate(tree)
    kept = {name: getattr(trained, name) for name in ("model", "method", "train", "data", "seed", "tier")}
    return config.model_copy(update=kept)


def prepared_of(root: Path, run: Path) -> Path:
    """The prepared data a run was trained on."""
    from kit.data.prepared import prepared_folder
    from kit.train.runs import load_manifest

    return prepared_folder(root, load_manifest(run)["data"]["fingerprint"])


def exit_with(result: "ReportResult") -> ExitCode:
    """The report's verdict as an exit code."""
    return result.exit_code
