"""The conditions both systems answered under, and where they differ: unlike conditions prove nothing."""

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit.config.errors import InvalidRunError, Problem
from kit.config.schema import Config
from kit.evaluate.prompts import Prompt
from kit.files import sha256_json, write_json

Conditions = dict[str, Any]

_MUST_AGREE = {
    "chat_template": "the chat template",
    "vocabulary": "the tokenizer's vocabulary",
    "stop_tokens": "the tokens that end an answer",
    "prompts": "the prompts' tokens",
    "data": "the prepared data",
    "test_data": "the test rows' answers and labels",
}
"""What is known of each system before it is loaded. System prompt and decoding are one setting for both."""

_LOADED_ALIKE = {
    "dtype": "the weights' type",
    "quantization": "the quantisation",
    "device": "the device",
    "hardware": "the machine",
    "software": "the libraries' versions",
}
"""What is read off each model once it is loaded."""


def conditions(
    config: Config,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    data: str,
    weights: str,
    adapter: str | None = None,
) -> Conditions:
    """Everything that shapes an answer and is known before a model is loaded; hashes are cut to 16 digits.

    Args:
        data: the fingerprint of the prepared data the system belongs to.
        weights: the sha256 that tells which weights these are; with the adapter's, what may differ.
        adapter: the sha256 of the adapter that lies on the base; None where there is none.
    """
    from kit.data.render import stop_ids

    asked = {prompt.id: prompt.ids(tokenizer) for prompt in prompts}
    decoding = config.evaluate.model_dump(mode="json", include={"max_new_tokens", "batch_size", "sampling"})
    return {
        "weights": weights[:16],
        "adapter_weights": adapter[:16] if adapter else "none",
        "system_prompt": _short(config.data.system_prompt),
        "chat_template": _short(tokenizer.chat_template),
        "tokenizer": _short(_spelling(tokenizer)),
        "vocabulary": _short(tokenizer.get_vocab()),
        "stop_tokens": stop_ids(tokenizer),
        "prompts": _short(asked),
        "data": data,
        "test_data": _short([prompt.reference for prompt in prompts]),
        "decoding": {**decoding, "seed": config.seed},
    }


def _spelling(tokenizer: Any) -> Any:
    """How text becomes tokens and back, of fast tokenizers; padding, which is set anew in use, aside.

    It is shown and need not agree: saved again, the same may be written otherwise. What it makes of the
    prompts must.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return sorted(tokenizer.get_vocab().items())
    parts = json.loads(backend.to_str())
    return {name: parts.get(name) for name in ("normalizer", "pre_tokenizer", "model", "decoder")}


def loaded_conditions(model: Any, system: str) -> Conditions:
    """How a model was really loaded: weights' type, quantisation, device, machine, libraries, adapter."""
    import torch
    import transformers

    on = next(model.parameters()).device
    kind = next(p.dtype for p in model.parameters() if p.is_floating_point())
    adapter = "none"
    if hasattr(model, "peft_config"):
        adapter = "switched off" if system == "base" else "beside the base, not merged"
    return {
        "dtype": str(kind).removeprefix("torch."),
        "quantization": _quantization(model.config),
        "device": torch.cuda.get_device_name(on) if on.type == "cuda" else on.type,
        "hardware": hardware_of(on),
        "software": f"torch {torch.__version__}, transformers {transformers.__version__}",
        "adapter": adapter,
    }


def hardware_of(on: Any) -> str:
    """The machine as far as it shapes answers and times: a GPU and its memory, or processor and cores."""
    import torch

    if on.type == "cuda":
        memory = torch.cuda.get_device_properties(on).total_memory / 2**30
        return f"{torch.cuda.get_device_name(on)}, {memory:.0f} GiB"
    return f"{platform.machine()}, {os.cpu_count()} cores"


def _quantization(settings: Any) -> str:
    found = getattr(settings, "quantization_config", None)
    if found is None:
        return "none"
    facts = found if isinstance(found, dict) else found.to_dict()
    if not facts.get("load_in_4bit"):
        return str(facts.get("quant_method", "unknown"))
    double = ", double" if facts.get("bnb_4bit_use_double_quant") else ""
    return f"4-bit {facts.get('bnb_4bit_quant_type')}{double}"


def note_loaded(folder: Path, system: str, loaded: Conditions) -> None:
    """Write down how a system was loaded, in `loaded.json` of its evaluation.

    Raises:
        InvalidRunError: an earlier session loaded this system, or the other one was loaded, otherwise:
            their answers and times would not compare (exit code 4).
    """
    before = read_loaded(folder)
    if before.get(system) == loaded:
        return
    problems = [
        Problem(
            where=str(folder),
            message=f"{words} differs: {other} answered with {facts[key]}, {system} would with {loaded[key]}",
            hint="finish the evaluation on the machine it began on, or delete its folder and begin anew",
        )
        for other, facts in before.items()
        for key, words in _LOADED_ALIKE.items()
        if key in facts and facts[key] != loaded[key]
    ]
    if problems:
        raise InvalidRunError(problems)
    write_json(folder / "loaded.json", {**before, system: loaded})


def read_loaded(folder: Path) -> dict[str, Conditions]:
    """How the systems of an evaluation were loaded, by system; those that were not yet are not there."""
    path = folder / "loaded.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def mismatches(base: Conditions, tuned: Conditions) -> list[str]:
    """Each condition that differs between the systems, in words."""
    alike = _MUST_AGREE | _LOADED_ALIKE
    return [f"{words} differs" for key, words in alike.items() if base.get(key) != tuned.get(key)]


def refuse_changed_base(config: Config, run: Path) -> str:
    """The sha256 of the base's weights, which must be those that the run started from.

    Raises:
        InvalidRunError: they are others (exit code 4).
    """
    from kit.models.loading import model_folder, weights_sha256

    folder = model_folder(config.model)
    found = weights_sha256(folder)
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    wanted = manifest["model"]["sha256"]
    if found != wanted:
        message = (
            f"the weights of {config.model.name!r} are not those the run started from: "
            f"found {found[:16]} in {folder}, expected {wanted[:16]}"
        )
        hint = "restore that model or revision, or train again from this one; then evaluate"
        raise InvalidRunError(Problem(str(run), message, hint))
    return found


def refuse_mismatches(base: Conditions, tuned: Conditions, run: Path) -> None:
    """Stop before any answer is made if the systems would not be compared like with like.

    Raises:
        InvalidRunError: all conditions that differ (exit code 4).
    """
    problems = [
        Problem(
            where=str(run),
            message=f"base and tuned cannot be compared: {words}",
            hint="evaluate with the settings, data and tokenizer of the run, or train again with today's",
        )
        for words in mismatches(base, tuned)
    ]
    if problems:
        raise InvalidRunError(problems)


def read_golden(run: Path) -> dict[str, Any]:
    """`golden.json` of a run: step, metric and score of its golden checkpoint.

    Raises:
        InvalidRunError: the run has none.
    """
    path = run / "golden" / "golden.json"
    if not path.is_file():
        hint = "it is written at a run's first evaluation; finish the run with `casekit train --resume`"
        raise InvalidRunError(Problem(str(run), "the run has no golden checkpoint", hint))
    golden: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return golden


def _short(value: Any) -> str:
    return sha256_json(value)[:16]
