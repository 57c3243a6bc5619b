"""vLLM in this process as what answers the prompts, in place of transformers (`evaluate.engine: vllm`).

It takes the same tokens and gives back tokens, so that text, stop conditions and what counts as cut are read
as those of a local model. Only run against a stand-in with its documented interface (vLLM 0.30): there was
no GPU to run it on.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.config.engine import RANKS
from kit.config.errors import ConfigError, Problem
from kit.config.schema import Config, Sampling
from kit.evaluate.conditions import Conditions, hardware_of

if TYPE_CHECKING:
    from kit.evaluate.continuous import Row

_PART = 256
"""Prompts handed over at a time: their answers are kept before the next ones are asked."""


@dataclass(frozen=True)
class VllmSystem:
    """A system of an evaluation as vLLM serves it: the base, or the base with an adapter."""

    llm: Any
    adapter: Any
    """A `LoRARequest`; None is the model as it is."""

    def answer(
        self, rows: "Sequence[Row]", stops: Sequence[int], most: int, seed: int, sampling: Sampling | None
    ) -> "Iterator[list[Row]]":
        """Rows with what was said to them, some at a time.

        Args:
            stops: the tokens that end an answer, and nothing else does before `most` tokens.
            sampling: None takes the likeliest token.
        """
        from vllm import SamplingParams

        from kit.drawing import own_seed

        drawn = (
            {"temperature": sampling.temperature, "top_p": sampling.top_p}
            if sampling
            else {"temperature": 0.0}
        )
        for start in range(0, len(rows), _PART):
            part = rows[start : start + _PART]
            made = self.llm.generate(
                [{"prompt_token_ids": row.prompt} for row in part],
                [
                    SamplingParams(
                        max_tokens=most,
                        stop_token_ids=list(stops),
                        ignore_eos=True,
                        detokenize=False,
                        seed=own_seed(seed, row.id) >> 1,  # 63 bits: signed where it is kept
                        **drawn,
                    )
                    for row in part
                ],
                use_tqdm=False,
                lora_request=self.adapter,
            )
            for row, output in zip(part, made, strict=True):
                said = output.outputs[0]
                row.said = list(said.token_ids)
                if said.finish_reason == "stop" and row.said[-1:] != [said.stop_reason]:
                    row.said.append(said.stop_reason)
            yield list(part)


def refuse_missing_vllm(config: Config) -> None:
    """Refuse the engine where it cannot run, before anything is loaded.

    Raises:
        ConfigError: vLLM is not installed, or there is no GPU.
    """
    from kit.models.loading import device

    if config.evaluate.engine != "vllm":
        return
    if find_spec("vllm") is None:
        hint = 'install it: pip install "casekit[vllm]"; or set evaluate.engine: transformers'
        raise ConfigError(Problem("evaluate.engine", "needs vLLM, which is not installed", hint))
    if device(config.hardware).type != "cuda":
        why = "hardware.device is cpu" if config.hardware.device == "cpu" else "torch sees none"
        hint = "set evaluate.engine: transformers"
        raise ConfigError(Problem("evaluate.engine", f"vLLM needs a GPU, and {why}", hint))


def load_vllm(config: Config, folder: Path, golden: Path, room: int) -> Any:
    """vLLM with the weights of a folder, and with room for the run's adapter where there is one.

    Args:
        folder: weights of a whole model: the base's, or a golden checkpoint's.
        room: tokens of the longest prompt and its answer.

    Raises:
        ConfigError: the adapter is of a kind that vLLM does not serve.
    """
    from vllm import LLM

    from kit.models.loading import device, dtype, is_adapter

    lora = {}
    if folder != golden and is_adapter(golden):
        rank = _rank(golden)
        lora = {"enable_lora": True, "max_lora_rank": next(size for size in RANKS if size >= rank)}
    return LLM(
        model=str(folder),
        skip_tokenizer_init=True,  # it is given tokens and gives tokens
        dtype=str(dtype(config.model, device(config.hardware))).removeprefix("torch."),
        seed=config.seed,
        max_model_len=room,
        generation_config="vllm",  # not the model's own penalties and temperature
        trust_remote_code=False,
        **lora,
    )


def adapter_of(golden: Path) -> Any:
    """What asks vLLM to lay a run's adapter on the base."""
    from vllm.lora.request import LoRARequest

    return LoRARequest(lora_name="tuned", lora_int_id=1, lora_path=str(golden))


def vllm_conditions(config: Config, adapter: str) -> Conditions:
    """How a model was loaded, as `loaded_conditions` has it; which library answered is a part of it.

    Args:
        adapter: `none`, `switched off` or `beside the base, not merged`.
    """
    import torch

    from kit.models.loading import device, dtype

    on = device(config.hardware)
    libraries = f"vllm {version('vllm')}, torch {torch.__version__}"
    return {
        "dtype": str(dtype(config.model, on)).removeprefix("torch."),
        "quantization": "none",
        "device": torch.cuda.get_device_name(on),
        "hardware": hardware_of(on),
        "software": libraries,
        "adapter": adapter,
    }


def _rank(golden: Path) -> int:
    settings = json.loads((golden / "adapter_config.json").read_text(encoding="utf-8"))
    rank = max([settings.get("r") or 0, *(settings.get("rank_pattern") or {}).values()])
    faults = [
        (settings.get("peft_type") != "LORA", f"an adapter of the kind {settings.get('peft_type')}"),
        (bool(settings.get("use_dora")), "DoRA"),
        (bool(settings.get("modules_to_save")), "modules that were trained whole (modules_to_save)"),
        (settings.get("bias", "none") != "none", "trained biases"),
        (rank > RANKS[-1], f"rank {rank}"),
    ]
    found = [fault for is_so, fault in faults if is_so]
    if found:
        message = f"vLLM does not serve {', '.join(found)} ({golden})"
        raise ConfigError(Problem("evaluate.engine", message, "set evaluate.engine: transformers"))
    return int(rank)
