"""The search: Optuna proposes settings, a run tries them, the worse half is given up on the way.

Trials are drawn by a tree-structured Parzen estimator (Bergstra et al. 2011) and given up where a validation
is worse than the median of the earlier trials' at the same place (Golovin et al. 2017). Everything is in
`study.log`, so a search that was stopped goes on, and the trial within it from its checkpoint.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kit.config.errors import CasekitError, InvalidRunError, Terminated
from kit.config.schema import Config
from kit.config.schema_tune import Tune
from kit.train.metrics import read_metrics, validations
from kit.train.runs import list_runs, load_manifest

if TYPE_CHECKING:
    import optuna

RunTrial = Callable[[list[str], Path | None, Callable[[int, float, float], bool]], Path]
"""Trains by `key=value` words on top of the project's settings, or goes on with a run; its folder."""
STARTUP_TRIALS = 4
"""So many trials are drawn at random and run to their end, before any is compared."""


def open_study(folder: Path, seed: int) -> "optuna.Study":
    """The study in `folder`, a new one or one that was begun before."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.log"))
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name="casekit",
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS),
    )
    # A search that goes on would draw again what it began with, were its seed the same.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), n_startup_trials=STARTUP_TRIALS)
    return study


def search(
    study: "optuna.Study", config: Config, folder: Path, run_trial: RunTrial, tell: Callable[[str], None]
) -> None:
    """Run trials until the budget is spent.

    Args:
        study: from `open_study`; what it holds already counts.
        config: the project's settings; `config.tune` says what is searched.
        folder: where the runs of trials lie.
        run_trial: trains one.
        tell: is given a line about every trial that ended, or that no more are in the budget.
    """
    take_up(study, folder)
    if len(ended(study)) >= config.tune.trials or spent(study, config.tune):
        more = "a larger `tune.trials` or `tune.max_hours` goes on"
        tell(f"the budget is spent, after {len(ended(study))} trials: {more}")
    while len(ended(study)) < config.tune.trials and not spent(study, config.tune):
        trial = study.ask()
        try:
            try_out(study, trial, config, folder, run_trial)
        except (KeyboardInterrupt, Terminated):
            done = len(ended(study))
            tell(f"stopped with {done} of {config.tune.trials} trials done: {folder / 'tuning.html'}")
            raise
        finally:
            tidy(study, config, folder)
        tell(f"trial {trial.number}: {outcome(study.trials[trial.number])}")


def try_out(
    study: "optuna.Study", trial: "optuna.Trial", config: Config, folder: Path, run_trial: RunTrial
) -> None:
    """Run one trial to its end, and hand the study what it reached.

    A signal leaves the trial open, to be taken up; an error that other settings would meet too ends it and is
    raised, for taken up it would be met for ever.
    """
    from optuna.trial import TrialState

    words = words_of(draw(trial, config.tune), config)
    trial.set_user_attr("words", words)
    judge = Judge(trial, config, words)
    resume = noted_run(trial, folder)
    if resume:
        judge.catch_up(resume)
    try:
        with noted(trial, folder):
            run = run_trial(words, resume, judge.gives_up)
    except Exception as error:
        failed = own_fault(error, words)
        if failed:
            trial.set_user_attr("failed", failed)
        study.tell(trial, state=TrialState.FAIL)
        if not failed:
            raise
    except (KeyboardInterrupt, Terminated):
        begun = noted_run(trial, folder)
        if begun and load_manifest(begun)["status"] == "finished":  # stopped within its last step
            note_end(study, trial, judge, begun)
        raise
    else:
        note_end(study, trial, judge, run)


def note_end(study: "optuna.Study", trial: "optuna.Trial", judge: "Judge", run: Path) -> None:
    """Hand the study what a finished run reached."""
    from optuna.trial import TrialState

    score, loss = reached(run)
    for name, value in {"score": score, "eval_loss": loss}.items():
        trial.set_user_attr(name, value)
    state = TrialState.PRUNED if judge.gave_up else TrialState.COMPLETE
    study.tell(trial, None if judge.gave_up else judge.value(score, loss), state)


def own_fault(error: Exception, words: list[str]) -> str | None:
    """What a trial's own words made fail: a rate at which the loss explodes, or an error about one of them.
    None where the error is not theirs, and would meet every trial."""
    if isinstance(error, InvalidRunError):
        return error.problems[0].message
    if not isinstance(error, CasekitError):
        return None
    keys = [word.split("=", 1)[0] for word in words]
    named = [problem for problem in error.problems if any(key in problem.where for key in keys)]
    return named[0].message if named else None


@contextmanager
def noted(trial: "optuna.Trial", folder: Path) -> Iterator[None]:
    """Note the run that the block began, however it ends, and how long it took, with what an earlier session
    spent on the same run."""
    began, known = time.monotonic(), set(list_runs(folder))
    try:
        yield
    finally:
        before = trial.user_attrs.get("seconds_before", 0.0)
        trial.set_user_attr("seconds", before + time.monotonic() - began)
        if begun := set(list_runs(folder)) - known:
            trial.set_user_attr("run", max(begun).name)


def noted_run(trial: "optuna.Trial", folder: Path) -> Path | None:
    """The run of a trial, of this session or an earlier one; None before it began one."""
    name = trial.user_attrs.get("run")
    return folder / "runs" / name if name else None


class Judge:
    """Reports a trial's validations, and says when the median of those before it was better."""

    def __init__(self, trial: "optuna.Trial", config: Config, words: list[str]) -> None:
        self.trial = trial
        self.objective = config.tune.objective
        given = dict(word.split("=", 1) for word in words)
        self.eval_steps = int(given.get("train.eval_steps", config.train.eval_steps))
        self.gave_up = False

    def value(self, score: float, loss: float) -> float:
        """What the search raises: the score, or minus the loss."""
        return score if self.objective == "task_score" else -loss

    def report(self, step: int, score: float, loss: float) -> None:
        """Report a validation. Its place counts validations, not steps, so that trials with other batches
        are compared after as many rows."""
        self.trial.report(self.value(score, loss), -(-step // self.eval_steps))

    def gives_up(self, step: int, score: float, loss: float) -> bool:
        """Report a validation; whether to end the run."""
        self.report(step, score, loss)
        self.gave_up = self.trial.should_prune()
        return self.gave_up

    def catch_up(self, run: Path) -> None:
        """Report what a run had validated before it was stopped."""
        for step, score, loss in validations(read_metrics(run)):
            self.report(step, score, loss)


def draw(trial: "optuna.Trial", settings: Tune) -> dict[str, float]:
    """The values that Optuna proposes for what is searched."""
    drawn: dict[str, float] = {}
    if settings.learning_rate:
        low, high = settings.learning_rate
        drawn["learning_rate"] = trial.suggest_float("learning_rate", low, high, log=True)
    for name in ("rank", "global_batch_size"):
        if choices := getattr(settings, name):
            drawn[name] = trial.suggest_categorical(name, choices)
    return drawn


def words_of(drawn: Mapping[str, float], config: Config) -> list[str]:
    """What a trial by these values changes, as words of the command line."""
    words = []
    if "learning_rate" in drawn:
        words.append(f"train.learning_rate={drawn['learning_rate']:.3g}")
    if rank := drawn.get("rank"):
        alpha = max(1, round(config.method.alpha / config.method.rank * rank))
        words += [f"method.rank={rank}", f"method.alpha={alpha}"]
    if batch := drawn.get("global_batch_size"):
        share = config.train.global_batch_size / batch
        words.append(f"train.global_batch_size={batch}")
        words += [
            f"train.{name}={max(1, round(getattr(config.train, name) * share))}"
            for name in ("eval_steps", "save_steps")
        ]
        if batch < config.train.per_device_train_batch_size:
            words.append(f"train.per_device_train_batch_size={batch}")
    return words


def best_trial(study: "optuna.Study", config: Config) -> "optuna.trial.FrozenTrial | None":
    """The best trial that ran to its end: by what is searched for, then by the other of score and loss."""
    whole = [trial for trial in study.trials if trial.state.name == "COMPLETE"]

    def rank(trial: "optuna.trial.FrozenTrial") -> tuple[float, float]:
        both = (trial.user_attrs["score"], -trial.user_attrs["eval_loss"])
        return both if config.tune.objective == "task_score" else both[::-1]

    return max(whole, key=rank, default=None)


def tidy(study: "optuna.Study", config: Config, folder: Path) -> None:
    """Delete the checkpoints of every run that no trial goes on with, and all weights but the best: curves
    stay."""
    best = best_trial(study, config)
    going_on = {trial.user_attrs.get("run") for trial in study.trials if not trial.state.is_finished()}
    for run in list_runs(folder):
        if run.name in going_on:
            continue
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
        if not best or run.name != best.user_attrs["run"]:
            shutil.rmtree(run / "golden", ignore_errors=True)


def take_up(study: "optuna.Study", folder: Path) -> None:
    """Queue the trials again that a session was stopped within, each to go on with its run. A run that
    was not begun, or is finished, leaves nothing to go on with."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        on = {"seconds_before": trial.user_attrs.get("seconds", 0.0)}
        run = trial.user_attrs.get("run") or unclaimed(study, folder)
        if run and load_manifest(folder / "runs" / run)["status"] != "finished":
            on["run"] = run
        study.enqueue_trial(trial.params, user_attrs=on)


def unclaimed(study: "optuna.Study", folder: Path) -> str | None:
    """The newest run, if no trial noted it: its trial was killed."""
    claimed = {trial.user_attrs.get("run") for trial in study.trials}
    newest = max((run.name for run in list_runs(folder)), default=None)
    return None if newest in claimed else newest


def ended(study: "optuna.Study") -> list["optuna.trial.FrozenTrial"]:
    """The trials that came to an end: complete, given up, or failed by themselves."""
    return [
        trial
        for trial in study.trials
        if trial.state.name in ("COMPLETE", "PRUNED") or "failed" in trial.user_attrs
    ]


def spent(study: "optuna.Study", settings: Tune) -> bool:
    """Whether the hours are used up."""
    used = sum(trial.user_attrs.get("seconds", 0.0) for trial in ended(study))
    return settings.max_hours is not None and used >= settings.max_hours * 3600


def reached(run: Path) -> tuple[float, float]:
    """The best score of a run and its lowest validation loss, which need not be of the same step."""
    found = validations(read_metrics(run))
    return max(score for _, score, _ in found), min(loss for _, _, loss in found)


def outcome(trial: "optuna.trial.FrozenTrial") -> str:
    """A trial's settings and its end, in words."""
    facts = trial.user_attrs
    tried = " ".join(facts["words"])
    if "failed" in facts:
        return f"{tried}: failed, {facts['failed']}"
    words = f"score {facts['score']:.4f}, lowest validation loss {facts['eval_loss']:.4f}"
    return f"{tried}: {words}" + ("" if trial.state.name == "COMPLETE" else ", given up")
