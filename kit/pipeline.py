"""One function a stage, with its wiring; `run` is the only place that strings the stages together.

Each function loads what its stage needs, calls it and returns the folder it left. Heavy imports stay
inside, so that importing this module costs nothing.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kit.as_trained import as_trained, prepared_of
from kit.base import ensure_base, tokenizer
from kit.config import Config, LoadedConfig, load_config
from kit.config.errors import ConfigError, DataError, Problem
from kit.files import write_text
from kit.hooks import load_hooks
from kit.signals import terminated_in_order

if TYPE_CHECKING:
    from rich.text import Text

    from kit.data.prepare import CheckResult
    from kit.evaluate.endpoint import Endpoint
    from kit.evaluate.plan import Plan
    from kit.report.build import ReportResult
    from kit.report.verify import Verified
    from kit.terminal_rows import Look
    from kit.train.chain import Link
    from kit.train.golden import GivesUp


def prepare(loaded: LoadedConfig) -> Path:
    """Read, check, clean and split the data; the prepared folder."""
    from kit.data.prepare import prepare as prepare_data

    return prepare_data(loaded.config, loaded.root, load_hooks(loaded.root), tokenizer(loaded.config))


def check(loaded: LoadedConfig, files: Sequence[Path] = ()) -> "CheckResult":
    """Every data check, nothing written.

    Args:
        loaded: the project.
        files: check these instead of the project's sources, without the columns that only all of those
            have, unless the command line names some. A file of a source is read as that source says.

    Raises:
        ConfigError: files are given, and the command line names sources too.
        DataError: a source cannot be read, or a column or cleaner that the settings name is nowhere.
    """
    from kit.data.given import data_of_files
    from kit.data.prepare import check as check_data

    config = loaded.config
    if files:
        config = config.model_copy(update={"data": data_of_files(loaded, files)})
    return check_data(config, loaded.root, load_hooks(loaded.root), tokenizer(config))


def show_rows(
    loaded: LoadedConfig, word: str, split: str | None, rejected: int | None, look: "Look"
) -> "Text":
    """Prepared rows as the model sees them, or one row that was rejected.

    Args:
        loaded: the project.
        word: which rows: a number in the split, an id, or `file:line`.
        split: where to look; None is train for a number, else every split.
        rejected: the number of a rejected row, instead of `word`.
        look: how tokens are told apart.

    Raises:
        DataError: the data was not prepared, or there is no such row.
    """
    from kit.data.lookup import find_rows, rejected_at, rejected_row
    from kit.data.prepared import find_prepared
    from kit.terminal_rows import rejection_text, rows_text

    words = tokenizer(loaded.config)
    folder = find_prepared(loaded.config, loaded.root, load_hooks(loaded.root), words)
    if rejected is not None:
        return rejection_text([rejected_row(folder, rejected)])
    if places := find_rows(folder, word, split):
        return rows_text(places, words, loaded.config, look)
    if turned_away := rejected_at(folder, word):
        return rejection_text(turned_away)
    raise DataError(Problem(word, "gave no row: neither kept nor rejected", "name it as messages do"))


def write_synthetic(grammar: Path, out: Path, count: int, seed: int) -> None:
    """Write `count` dialogues made from a grammar as JSONL; each row says that it is synthetic."""
    from kit.data.grammar_load import load_grammar
    from kit.data.synth import synthesize

    rows = synthesize(load_grammar(grammar), count, seed)
    write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


@terminated_in_order()
def train(loaded: LoadedConfig, link: "Link | None" = None, resume: Path | None = None) -> Path:
    """Train on the prepared data, each stage from the golden checkpoint of the one before; the last run.

    Where `hardware` asks for several processes, this one starts them, and each does what follows.

    Args:
        link: the place in the chain to begin at; None is its first stage.
        resume: a run of that stage to continue.
    """
    from kit.data.prepared import find_prepared
    from kit.evaluate.evaluate import check_labels, load_metrics
    from kit.launch.processes import launch_training, needs_launch
    from kit.train.chain import Link

    config, root, stages = loaded.config, loaded.root, loaded.config.train.names
    link = link or Link(stages, number=0, before=None)
    begun = resume or link.before
    if needs_launch(config.hardware):
        ensure_base(config)  # once, before every process wants it
        going_on = ["--resume", "--run", begun.name] if begun else []
        return launch_training(config.hardware, [*loaded.overrides, "--project", str(root), *going_on])
    hooks = load_hooks(root)
    load_metrics(config, hooks, root)  # a misspelt metric is told now, not when the training is done
    prepared = find_prepared(config, root, hooks, tokenizer(config), begun and prepared_of(root, begun))
    if stages != ["reward"]:  # which is asked nothing
        check_labels(config, root, prepared, hooks)
    run = _train_stage(loaded.of_stage(link.number), prepared, link, resume)
    for number in range(link.number + 1, len(stages)):
        run = _train_stage(loaded.of_stage(number), prepared, Link(stages, number, before=run))
    return run


def _train_stage(
    loaded: LoadedConfig,
    prepared: Path,
    link: "Link",
    resume: Path | None = None,
    runs_in: Path | None = None,
    gives_up: "GivesUp | None" = None,
) -> Path:
    """One stage, golden being picked by the case's own metric, or a reward model's by its pairs; the run.

    Args:
        runs_in: where its folder goes to; None is the project.
        gives_up: told of each validation; true ends the run.
    """
    from kit.evaluate.evaluate import task_scorer
    from kit.evaluate.rewards import load_rewards
    from kit.train.chain import alone_after
    from kit.train.manifest import golden_choice
    from kit.train.stages import train as train_model

    config, root, hooks = loaded.config, loaded.root, load_hooks(loaded.root)
    ensure_base(config)
    answers = config.train.stage != "reward"
    task_score = task_scorer(config, root, prepared, hooks) if answers and config.evaluate.metrics else None
    chosen_by = golden_choice(config, root, hooks) if answers else {}
    into, linked = runs_in or root, link if len(link.stages) > 1 else None
    rewards = load_rewards(config, root, prepared, hooks) if config.train.stage == "grpo" else ()
    with alone_after(None if resume else link.before):
        return train_model(
            config, into, prepared, task_score, resume, chosen_by, loaded, linked, gives_up, rewards
        )


@terminated_in_order()
def tune(loaded: LoadedConfig, tell: Callable[[str], None], going_on: Path | None = None) -> Path:
    """Search for settings as `tune` says; the folder of the search. Called again, it goes on.

    Args:
        tell: is given a line about every trial that ended.
        going_on: the search that it has to be.

    Raises:
        ConfigError: nothing can be searched (see `check_tunable`), it is not the search to go on with, or
            another process is at it.
    """
    from kit.data.prepared import find_prepared
    from kit.train.chain import Link
    from kit.train.opening import held
    from kit.tune.check import check_tunable
    from kit.tune.folder import remember, search_folder
    from kit.tune.page import write_results
    from kit.tune.search import open_study, search

    config, root, hooks = loaded.config, loaded.root, load_hooks(loaded.root)
    prepared = find_prepared(config, root, hooks, tokenizer(config))
    check_tunable(loaded, prepared)
    folder = search_folder(loaded, prepared, hooks, going_on)
    alone = Link([config.train.stage], number=0, before=None)

    def run_trial(words: list[str], resume: Path | None, gives_up: "GivesUp") -> Path:
        trial = load_config(root, [*loaded.overrides, *words])
        return _train_stage(trial, prepared, alone, resume, folder, gives_up)

    folder.mkdir(parents=True, exist_ok=True)
    with held(folder, "is being searched"):  # another would take this one's trial for one that was left
        study = open_study(folder, config.seed)
        remember(folder, loaded, prepared, hooks)
        try:
            search(study, config, folder, run_trial, tell)
        finally:
            write_results(folder, study, config)
    return folder


def resume(loaded: LoadedConfig, run_id: str | None = None) -> Path:
    """Continue a run exactly where it stopped, and the stages after it; see `kit.train.chain.to_resume`."""
    from kit.train.chain import go_on

    return train(loaded, *go_on(loaded, run_id))


def evaluate(
    loaded: LoadedConfig,
    run_id: str | None = None,
    announce: Callable[["Plan"], None] = lambda plan: None,
) -> Path:
    """Answer the held-out prompts with base and golden, and score both; the evaluation. Of a reward model
    the held-out pairs are scored instead.

    Args:
        announce: told what so many prompts could show, before the first is asked.
    """
    from kit.evaluate.evaluate import evaluate as evaluate_run
    from kit.evaluate.reward import evaluate_reward
    from kit.train.runs import find_run

    run = find_run(loaded.root, run_id)
    config = as_trained(loaded, run)
    ensure_base(config)
    prepared = prepared_of(loaded.root, run)
    if config.train.stage == "reward":
        return evaluate_reward(config, prepared, run, loaded.root)
    return evaluate_run(config, loaded.root, prepared, run, load_hooks(loaded.root), announce)


def report(
    loaded: LoadedConfig,
    evaluation_id: str | None = None,
    baseline: str | None = None,
    pdf: bool = False,
) -> "ReportResult":
    """Judge the gates and write the report, as a PDF too if asked; its folder and exit code.

    Args:
        baseline: the released report to hold it against, instead of the settings' own.
    """
    from kit.evaluate.evaluate import find_evaluation, run_of
    from kit.report.build import write_report
    from kit.report.pdf import require_browser

    browser = require_browser() if pdf else None  # said before anything is written
    evaluation = find_evaluation(loaded.root, evaluation_id)
    run = run_of(loaded.root, evaluation)
    config = as_trained(loaded, run)
    prepared = prepared_of(loaded.root, run)
    gates = loaded.recipe_gates
    return write_report(config, loaded.root, evaluation, run, prepared, gates, baseline, browser)


def made_otherwise(loaded: LoadedConfig, evaluation_id: str | None = None) -> list[str]:
    """What an evaluation was made with that the settings say otherwise now; a sentence each."""
    from kit.evaluate.evaluate import find_evaluation, run_of
    from kit.evaluate.stale import made_otherwise

    evaluation = find_evaluation(loaded.root, evaluation_id)
    config = as_trained(loaded, run_of(loaded.root, evaluation))
    return made_otherwise(evaluation, config, loaded.root, load_hooks(loaded.root))


def verify(loaded: LoadedConfig, report: Path) -> "Verified":
    """Make a report's every number again from the saved answers, and compare; what differs."""
    from kit.report.verify import verify_report

    return verify_report(report, loaded.root, partial(as_trained, loaded), load_hooks(loaded.root))


def run(loaded: LoadedConfig, announce: Callable[["Plan"], None] = lambda plan: None) -> "ReportResult":
    """The whole way: prepare, train, evaluate, report; `announce` as for `evaluate`.

    Raises:
        ConfigError: the last stage is `reward`, whose model gives no answers to report.
    """
    if loaded.config.train.names[-1] == "reward":
        message = "ends with `reward`, whose model scores answers and gives none: there is no report to make"
        hint = "run: casekit data prepare && casekit train && casekit evaluate"
        raise ConfigError(Problem("train.stage", message, hint))
    prepare(loaded)
    evaluation = evaluate(loaded, train(loaded).name, announce)
    return report(loaded, evaluation.name)


def answer(
    loaded: LoadedConfig, endpoint: "Endpoint", out: Path, most: int | None = None, answers: int = 1
) -> tuple[int, int]:
    """Answer the held-out prompts with a model that is served elsewhere; how many answers that is, and how
    many replies just now held no text.

    Args:
        loaded: the project, whose test split is asked as `casekit evaluate` asks it.
        out: the file of answers.
        most: at most so many prompts; `evaluate.max_prompts` where it is None.
        answers: so many to each prompt.
    """
    from kit.data.prepared import find_prepared
    from kit.evaluate.prompts import choose, load_prompts
    from kit.evaluate.served import answer_by_endpoint

    config, root = loaded.config, loaded.root
    prepared = find_prepared(config, root, load_hooks(root), tokenizer(config))
    prompts = choose(load_prompts(prepared / "test"), most or config.evaluate.max_prompts)
    return len(prompts) * answers, answer_by_endpoint(endpoint, prompts, out, answers, config.seed)


def compare(
    config: Config,
    root: Path,
    words: Sequence[str],
    out: Path,
    project: Path = Path(),
    announce: Callable[[str], None] = lambda notice: None,
) -> "ReportResult":
    """Hold systems that answered the same prompts against the first of them; loads no model.

    Args:
        config: metrics, gates and claims, from `kit.evaluate.comparison.comparison_settings`.
        root: the folder that paths in them start from.
        words: the systems: files of answers, or evaluations and runs of `project`.
        out: the report's folder.
        announce: told what is to be known before any number, such as prompts that were left out.
    """
    from kit.evaluate.evaluate import load_metrics
    from kit.evaluate.family import compare_family
    from kit.evaluate.given_by_runs import find_given
    from kit.evaluate.pairing import pair
    from kit.report.comparison import refuse_other_contents, write_comparison

    if len(words) < 2:
        raise ConfigError(Problem(" ".join(words), "is one system", "name two or more to compare"))
    refuse_other_contents(out)
    metrics = load_metrics(config, load_hooks(root), root)
    if not metrics:
        hint = "name some with --metric, or list them in `evaluate.metrics` of --config or of the project"
        raise ConfigError(Problem("evaluate.metrics", "there is no metric to compare answers by", hint))
    systems = find_given(project, words)
    family = compare_family(config, metrics, pair(systems))
    for notice in dict.fromkeys(notice for scores in family for notice in scores["notices"]):
        announce(notice)
    return write_comparison(config, root, family, systems, out)


def chat(loaded: LoadedConfig, message: str | None, run_id: str | None = None, base: bool = False) -> None:
    """Answer one message, or hold a conversation in the terminal."""
    from kit.evaluate.generate import generate
    from kit.evaluate.prompts import Prompt
    from kit.evaluate.reward import refuse_reward_model
    from kit.models.loading import load_base, load_tokenizer, load_tuned
    from kit.terminal import converse
    from kit.train.runs import find_run

    config = loaded.config
    if base:
        ensure_base(config)
        model = load_base(config)
    else:
        run = find_run(loaded.root, run_id)
        config = as_trained(loaded, run)
        refuse_reward_model(config, run)
        ensure_base(config)
        model = load_tuned(run / "golden", config)
    words = load_tokenizer(config.model)

    def reply(turns: list[dict[str, str]]) -> str:
        prompt = Prompt(id="chat", messages=turns, expected={}, slices={}, group="")
        (answer,) = generate(
            model,
            words,
            [prompt],
            decoding="greedy",
            max_new_tokens=config.evaluate.max_new_tokens,
            batch_size=1,
            seed=config.seed,
            sampling=config.evaluate.sampling,
        )
        return answer.output

    converse(reply, message, config)
