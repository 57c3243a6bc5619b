"""A stand-in for vLLM 0.30: the part of its documented interface that is used, answered by transformers.

Unknown settings are errors, as there. An answer's tokens end with the stop token, as there.
"""

import sys
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import torch


@dataclass
class SamplingParams:
    max_tokens: int | None = 16
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop_token_ids: list[int] = field(default_factory=list)
    ignore_eos: bool = False
    detokenize: bool = True


@dataclass(frozen=True)
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str


class LLM:
    made: list["LLM"]

    def __init__(
        self,
        model: str,
        *,
        skip_tokenizer_init: bool = False,
        dtype: str = "auto",
        seed: int = 0,
        max_model_len: int | None = None,
        generation_config: str = "auto",
        trust_remote_code: bool = False,
        enable_lora: bool = False,
        max_lora_rank: int = 16,
    ) -> None:
        from transformers import AutoModelForCausalLM

        assert skip_tokenizer_init and generation_config == "vllm" and not trust_remote_code
        self.folder, self.max_model_len, self.enable_lora = model, max_model_len, enable_lora
        self.max_lora_rank, self.calls = max_lora_rank, []
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
        self.made.append(self)

    def generate(self, prompts, sampling_params, *, use_tqdm=True, lora_request=None):
        assert lora_request is None or self.enable_lora
        self.calls.append((sampling_params, lora_request))
        model = self.model
        if lora_request is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(self.model, lora_request.lora_path).eval()
        made = [self._answer(model, *each) for each in zip(prompts, sampling_params, strict=True)]
        if lora_request is not None:
            self.model = model.unload()
        return made

    def _answer(self, model, prompt, params):
        ids = torch.tensor([prompt["prompt_token_ids"]])
        assert ids.shape[1] + params.max_tokens <= self.max_model_len and params.ignore_eos
        torch.manual_seed(params.seed % 2**32)
        drawn = {"do_sample": True, "temperature": params.temperature, "top_p": params.top_p, "top_k": 0}
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=params.max_tokens,
            eos_token_id=params.stop_token_ids,
            pad_token_id=0,
            **(drawn if params.temperature else {"do_sample": False}),
        )
        tokens = out[0, ids.shape[1] :].tolist()
        stopped = tokens[-1] in params.stop_token_ids
        said = SimpleNamespace(
            token_ids=tokens,
            finish_reason="stop" if stopped else "length",
            stop_reason=tokens[-1] if stopped else None,
        )
        return SimpleNamespace(outputs=[said])


def install(monkeypatch) -> None:
    """Have `import vllm` give this, on a machine that says it has a GPU."""
    package, lora, request = (ModuleType(name) for name in ("vllm", "vllm.lora", "vllm.lora.request"))
    package.LLM, package.SamplingParams, request.LoRARequest = LLM, SamplingParams, LoRARequest
    package.__spec__ = ModuleSpec("vllm", None)
    for module in (package, lora, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(LLM, "made", [], raising=False)
    monkeypatch.setattr("kit.evaluate.vllm_engine.version", lambda name: "0.30.0")
    monkeypatch.setattr("kit.models.loading.device", lambda hardware: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda on: "a GPU")
    facts = SimpleNamespace(total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda on: facts)
