"""The answers and times of base and tuned, with the weights of one model in memory at a time.

With an adapter both systems are one model: base is that model with its adapter switched off. Full
weights are two models: base answers and is freed before tuned is loaded. Only small ones are held
together, to be timed in turn.
"""

import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from kit.config.schema import Config, HarnessTask
from kit.evaluate.calibration_scores import FILE as CONFIDENCE
from kit.evaluate.calibration_scores import asked_for
from kit.evaluate.conditions import loaded_conditions, note_loaded
from kit.evaluate.generate import Answer, generate, generation_config
from kit.evaluate.harness import answered_file, give_task, is_given
from kit.evaluate.latency import Served, measure_latency, serve_batch
from kit.evaluate.likelihood import measure_likelihood
from kit.evaluate.memorisation import MEMORISATION, Secret, tempt
from kit.evaluate.perplexity import NAME
from kit.evaluate.predictions import append_predictions, read_lines, read_predictions
from kit.evaluate.prompts import Prompt
from kit.evaluate.sampling import Decoding, drawn_id
from kit.evaluate.timing import SYSTEMS
from kit.evaluate.validity import invalid_reason
from kit.evaluate.vllm_engine import VllmSystem, adapter_of, load_vllm, vllm_conditions
from kit.files import write_text
from kit.models.loading import is_adapter, load_base, load_tokenizer, load_tuned, model_folder

Asked = tuple[Prompt, int]
"""A prompt, and which of the answers to it is asked for: 0 but for further sampled ones."""

SMALL = 4_000_000_000
"""Bytes of weights of which any machine that trains all of them holds two models: training takes four
times the weights for gradients and Adam's averages, two models take twice."""


@dataclass
class Systems:
    """Base and tuned of a run, loaded when they are first asked for."""

    config: Config
    golden: Path
    folder: Path
    """The evaluation's folder, which is told what was loaded."""
    room: int = 0
    """Tokens of the longest prompt and its answer."""
    both: bool = False
    """Whether a model is kept when the other system's is loaded."""
    held: dict[str, Any] = field(default_factory=dict)
    """Models by the system that they are; an adapter's is both."""

    @property
    def are_one_model(self) -> bool:
        """Whether tuned is an adapter on base."""
        return is_adapter(self.golden)

    @property
    def can_take_turns(self) -> bool:
        """Whether both can be in memory at once, so that each prompt is timed with one after the other."""
        folders = [model_folder(self.config.model), self.golden]
        sizes = [sum(path.stat().st_size for path in folder.glob("*.safetensors")) for folder in folders]
        return self.are_one_model or max(sizes) <= SMALL

    @contextmanager
    def answering(self, system: str) -> Iterator[Any]:
        """The model, in evaluation mode, as `system`; what vLLM serves, where that answers.

        Raises:
            ModelError: it cannot be loaded.
            InvalidRunError: it is not loaded as the other answers' model was (exit code 4).
        """
        model = self._load("both" if self.are_one_model else system)
        if self.config.evaluate.engine == "vllm":
            adapters = {"base": "switched off", "tuned": "beside the base, not merged"}
            adapter = adapters[system] if self.are_one_model else "none"
            note_loaded(self.folder, system, vllm_conditions(self.config, adapter))
            lies_on = self.are_one_model and system == "tuned"
            yield VllmSystem(model, adapter_of(self.golden) if lies_on else None)
            return
        note_loaded(self.folder, system, loaded_conditions(model, system))
        if self.are_one_model and system == "base":
            with model.disable_adapter():
                yield model
        else:
            yield model

    def _load(self, which: str) -> Any:
        if which not in self.held:
            if not self.both:
                self.held.clear()
                gc.collect()
                torch.cuda.empty_cache()  # does nothing where no GPU was used
            self.held[which] = self._loaded(which)
        return self.held[which]

    def _loaded(self, which: str) -> Any:
        if self.config.evaluate.engine == "vllm":
            folder = self.golden if which == "tuned" else model_folder(self.config.model)
            return load_vllm(self.config, folder, self.golden, self.room)
        return load_base(self.config) if which == "base" else load_tuned(self.golden, self.config)


def answer(
    config: Config,
    run: Path,
    prompts: Sequence[Prompt],
    folder: Path,
    *,
    root: Path,
    general: Sequence[Prompt] = (),
    secrets: Sequence[Secret] = (),
) -> None:
    """Fill in the answers, readings and times that are not there yet; loads no model if all are.

    Base and tuned are timed in turn where both fit, else each by itself when it has answered.

    Args:
        root: the project, for tasks of its own.
        general: prompts of general sets, answered greedily besides.
        secrets: what each system is tempted to say (`kit.evaluate.memorisation`).
    """
    asked_too = [prompt for prompt in general if prompt.id not in {own.id for own in prompts}]
    wanted: dict[Decoding, list[Asked]] = {"greedy": [(prompt, 0) for prompt in [*prompts, *asked_too]]}
    if config.evaluate.sampling.enabled:
        numbers = range(config.evaluate.sampling.answers)
        wanted["sampled"] = [(prompt, sample) for prompt in prompts for sample in numbers]
    missing = _missing(config, folder, root, wanted, bool(secrets))
    if not missing:
        return
    tokenizer = load_tokenizer(config.model)
    longest = max(len(prompt.ids(tokenizer)) for prompt, _ in wanted["greedy"])
    systems = Systems(config, run / "golden", folder, longest + config.evaluate.max_new_tokens)
    for system in SYSTEMS:
        for decoding in wanted:
            if asked := missing.answers[system, decoding]:
                _answer(systems, tokenizer, asked, len(wanted[decoding]) - len(asked), system, decoding)
        if system in missing.readings:
            _read_references(systems, tokenizer, prompts, system)
        if system in missing.confidences:
            _read_answers(systems, tokenizer, prompts, system)
        if system in missing.temptations:
            _tempt(systems, tokenizer, secrets, system)
        for task in (task for given_to, task in missing.tasks if given_to == system):
            _give_task(systems, tokenizer, task, root, system)
        if system in missing.times and not systems.can_take_turns:
            _time(systems, tokenizer, prompts, [system])
    if missing.times and systems.can_take_turns:
        systems.both = True
        _time(systems, tokenizer, prompts, SYSTEMS)


@dataclass(frozen=True)
class _Missing:
    """What an evaluation's folder lacks: prompts without an answer, and systems that were not looked at."""

    answers: dict[tuple[str, Decoding], list[Asked]]
    times: list[str]
    readings: list[str]
    confidences: list[str]
    temptations: list[str]
    tasks: list[tuple[str, HarnessTask]]

    def __bool__(self) -> bool:
        others = (self.times, self.readings, self.confidences, self.temptations, self.tasks)
        return any(others) or any(self.answers.values())


def _missing(
    config: Config,
    folder: Path,
    root: Path,
    wanted: dict[Decoding, list[Asked]],
    tempted: bool,
) -> _Missing:
    done = read_predictions(folder / "predictions.jsonl")
    read = NAME in {use.name for use in config.evaluate.metrics}
    return _Missing(
        answers={
            (system, decoding): [
                (prompt, sample)
                for prompt, sample in asked
                if (prompt.id, system, decoding, sample) not in done
            ]
            for system in SYSTEMS
            for decoding, asked in wanted.items()
        },
        times=_absent(folder / "latency.jsonl") if config.evaluate.latency_prompts else [],
        readings=_absent(folder / "likelihood.jsonl") if read else [],
        confidences=_absent(folder / CONFIDENCE) if asked_for(config) else [],
        temptations=_absent(folder / MEMORISATION) if tempted else [],
        tasks=[
            (system, task)
            for system in SYSTEMS
            for task in config.evaluate.harness
            if not is_given(answered_file(folder, task, config, system), task, root)
        ],
    )


def _absent(path: Path) -> list[str]:
    """The systems that a file, which each fills in at once, has no line of."""
    there = {line["system"] for line in read_lines(path)}
    return [system for system in SYSTEMS if system not in there]


def _answer(
    systems: Systems,
    tokenizer: Any,
    asked: Sequence[Asked],
    done: int,
    system: str,
    decoding: Decoding,
) -> None:
    named = {drawn_id(prompt.id, sample): (prompt, sample) for prompt, sample in asked}

    def keep(answers: list[Answer]) -> None:
        lines = [
            {
                "id": named[answer.id][0].id,
                "system": system,
                "decoding": decoding,
                "sample": named[answer.id][1],
                "output": answer.output,
                "new_tokens": answer.new_tokens,
                "finished": answer.finished,
                "seconds": answer.seconds,
            }
            for answer in answers
        ]
        append_predictions(systems.folder / "predictions.jsonl", lines)

    settings = systems.config.evaluate
    with systems.answering(system) as model:
        generate(
            model,
            tokenizer,
            [replace(prompt, id=id_) for id_, (prompt, _) in named.items()],
            decoding=decoding,
            max_new_tokens=settings.max_new_tokens,
            batch_size=settings.batch_size,
            seed=systems.config.seed,
            sampling=settings.sampling,
            on_answers=keep,
            title=f"{system}, {decoding}",
            done=done,
        )


def _read_references(systems: Systems, tokenizer: Any, prompts: Sequence[Prompt], system: str) -> None:
    """Add a system's surprise at the reference answers to `likelihood.jsonl`, all at once."""
    with systems.answering(system) as model:
        lines = measure_likelihood(model, tokenizer, prompts, systems.config.model.max_length, system)
    path = systems.folder / "likelihood.jsonl"
    write_text(path, "".join(json.dumps(line) + "\n" for line in [*read_lines(path), *lines]))


def _read_answers(systems: Systems, tokenizer: Any, prompts: Sequence[Prompt], system: str) -> None:
    """Add how sure a system is of its own greedy answers to `confidence.jsonl`, all at once."""
    made = read_predictions(systems.folder / "predictions.jsonl")
    answers = [made[prompt.id, system, "greedy", 0] for prompt in prompts]
    invalid = [invalid_reason(line["output"], line["finished"]) for line in answers]
    own = [
        replace(prompt, answer=line["output"])
        for prompt, line, reason in zip(prompts, answers, invalid, strict=True)
        if reason is None
    ]
    with systems.answering(system) as model:
        lines = measure_likelihood(model, tokenizer, own, systems.config.model.max_length, system)
    lines += [
        {"id": prompt.id, "system": system, "nats": 0.0, "tokens": 0, "why": f"invalid answer ({reason})"}
        for prompt, reason in zip(prompts, invalid, strict=True)
        if reason is not None
    ]
    path = systems.folder / CONFIDENCE
    write_text(path, "".join(json.dumps(line) + "\n" for line in [*read_lines(path), *lines]))


def _tempt(systems: Systems, tokenizer: Any, secrets: Sequence[Secret], system: str) -> None:
    """Add what a system gave away to `memorisation.jsonl`, all at once."""
    with systems.answering(system) as model:
        lines = tempt(model, tokenizer, secrets, systems.config.model.max_length, system)
    path = systems.folder / MEMORISATION
    write_text(path, "".join(json.dumps(line) + "\n" for line in [*read_lines(path), *lines]))


def _give_task(systems: Systems, tokenizer: Any, task: HarnessTask, root: Path, system: str) -> None:
    """Keep what a system made of a task of lm-evaluation-harness, all at once."""
    with systems.answering(system) as model:
        lines = give_task(model, tokenizer, task, systems.config, root, system)
    path = answered_file(systems.folder, task, systems.config, system)
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))


def _time(systems: Systems, tokenizer: Any, prompts: Sequence[Prompt], timed: Sequence[str]) -> None:
    """Add the times of `timed` to `latency.jsonl`, all at once."""
    settings = systems.config.evaluate
    decoding = generation_config(tokenizer, settings.max_new_tokens)

    def serve(system: str, asked: Sequence[Prompt]) -> tuple[list[Served], float]:
        with systems.answering(system) as model:
            return serve_batch(model, tokenizer, asked, decoding)

    records = measure_latency(timed, serve, prompts[: settings.latency_prompts], settings.concurrency)
    path = systems.folder / "latency.jsonl"
    kept = [line for line in read_lines(path) if line["system"] not in timed]
    write_text(path, "".join(json.dumps(record) + "\n" for record in [*kept, *records]))
