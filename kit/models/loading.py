"""Base models, their tokenizers and tuned models, loaded the careful way.

A model's name is first turned into a folder on this machine (tiny's cache, the folder itself, or a
snapshot fetched from the Hub), and only then loaded from there: safetensors weights only, never code
that came with a model. So a Hub id and a local folder take the same path, with or without a network.
"""

import json
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.config.errors import ModelError, Problem
from kit.config.schema import Config, Model
from kit.config.schema_train import Hardware
from kit.files import sha256_file, sha256_json
from kit.memory import ran_out
from kit.models.four_bits import keep_layout
from kit.models.soft_prompts import count_positions
from kit.models.tiny import tiny_folder
from kit.models.weights import all_of, check_weights, refuse_pickled

if TYPE_CHECKING:
    import torch

# What a model may consist of. Anything else in a repository (pickles, Python code) is not fetched.
WORDS = ["*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken"]
"""Tokenizer and configuration: all that reading, checking and showing data needs."""
WEIGHTS = ["*.safetensors"]


def model_folder(model: Model) -> Path:
    """The folder on this machine that holds `model` with its weights, fetched from the Hub if need be.

    Raises:
        ModelError: tiny is not built yet, the Hub could not be reached or does not have the model, or
            the folder's safetensors weights are missing, incomplete or damaged.
    """
    folder = _folder(model, [*WORDS, *WEIGHTS])
    if not list(folder.glob("*.safetensors")):
        refuse_pickled(_files(model, folder), model.name)
    check_weights(folder, model.name)
    return folder


def _folder(model: Model, wanted: list[str]) -> Path:
    """The folder that holds what is `wanted` of `model`, as file patterns."""
    if model.name == "tiny":
        folder = tiny_folder()
        if not folder.is_dir():
            raise ModelError(
                Problem(
                    where="model.name",
                    message=f"tiny is not built yet (expected in {folder})",
                    hint="`casekit data prepare` and `casekit train` build it at first use",
                )
            )
        return folder
    place = Path(model.name).expanduser()
    if place.is_dir():
        return place.resolve()
    if problems := missing_folder(model):
        raise ModelError(problems)
    return _fetch(model, wanted)


def missing_folder(model: Model) -> list[Problem]:
    """What is wrong with a name that can only be a path: ids on the Hub are `name` or `owner/name`."""
    name, place = model.name, Path(model.name).expanduser()
    is_path = name.startswith(("/", "~", ".")) or name.count("/") > 1 or "\\" in name or name.endswith("/")
    if not is_path or place.is_dir():
        return []
    what = "is a file, expected a folder" if place.is_file() else "does not exist"
    hint = "give a folder with config, tokenizer and safetensors weights, an id of the Hub, or tiny"
    return [Problem("model.name", f"the folder {str(place.absolute())!r} {what}", hint)]


def _fetch(model: Model, wanted: list[str]) -> Path:
    """Fetch a Hub snapshot, or find it in the local cache when there is no network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    asked = f"{model.name!r}" + (f" at revision {model.revision!r}" if model.revision else "")
    try:
        return Path(snapshot_download(model.name, revision=model.revision, allow_patterns=wanted))
    except GatedRepoError as error:
        raise _not_loaded(
            f"{asked} asks for its licence to be accepted", error, "accept it there, then log in"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        hint = (
            "check the spelling; private models need `hf auth login`. Or use `model: tiny` or a local folder"
        )
        raise _not_loaded(f"{asked} is neither a folder nor a model on the Hub", error, hint) from error
    except RevisionNotFoundError as error:
        raise _not_loaded(
            f"{asked} does not exist: no such revision", error, "check `model.revision`"
        ) from error
    except Exception as error:  # the Hub's errors, the disk's, and those of the HTTP library beneath
        parts = "config, tokenizer and safetensors weights" if "*.safetensors" in wanted else "tokenizer"
        hint = (
            f"its {parts} (files {', '.join(wanted)}) were wanted and are not in the local cache; "
            "connect to a network, give a local folder, or use `model: tiny`, which needs neither"
        )
        raise _not_loaded(f"cannot fetch {asked} from the Hugging Face Hub", error, hint) from error


def _files(model: Model, folder: Path) -> list[str]:
    """The names of all files of `model`, those that are not fetched included where the Hub answers."""
    from huggingface_hub import HfApi

    if model.name == "tiny" or Path(model.name).expanduser().is_dir():
        return [path.name for path in folder.iterdir()]
    try:
        found = HfApi().model_info(model.name, revision=model.revision, timeout=10).siblings or []
        return [file.rfilename for file in found]
    except Exception:  # without a network; nothing depends on it but the wording of an error
        return []


def _not_loaded(message: str, error: Exception, hint: str) -> ModelError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ModelError(Problem(where="model.name", message=f"{message} ({reason})", hint=hint))


def load_tokenizer(model: Model) -> Any:
    """The tokenizer of `model`, with a chat template and a padding token that never means anything else.

    Raises:
        ModelError: it cannot be loaded, has no chat template, or has no token that is safe to pad with.
    """
    folder = _folder(model, WORDS)  # a name that leads nowhere is told before seconds of imports
    from transformers import AutoTokenizer

    from kit.models.quiet import quiet_libraries

    quiet_libraries()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises bare exceptions on a damaged file
        message = f"the tokenizer of {model.name!r} cannot be loaded"
        raise _not_loaded(message, error, _advice(folder, "tokenizer_config.json")) from error
    if not tokenizer.chat_template:
        raise ModelError(
            Problem(
                where="model.name",
                message=f"the tokenizer of {model.name!r} has no chat template",
                hint="choose the model's chat or instruct version: its template says how turns are written",
            )
        )
    _settle_padding(tokenizer, model.name)
    return tokenizer


def _advice(folder: Path, needed: str = "config.json") -> str:
    """What to do about a model that does not load from `folder`, from what is in it."""
    if not (folder / needed).is_file():
        return f"{folder} has no {needed}: incomplete; delete {all_of(folder)} and fetch it again"
    brings_code = any(
        "auto_map" in file.read_text("utf-8", "replace") for file in folder.glob("*config.json")
    )
    if brings_code:
        return "models that need their own Python code are not loaded; use one that transformers knows"
    return f"use a model that transformers knows; if this is one, delete {all_of(folder)} and fetch it again"


def _settle_padding(tokenizer: Any, name: str) -> None:
    """Give the tokenizer a padding token that is not its end of turn.

    With padding equal to the end of a turn, code that ignores padding also ignores that turns end,
    and the tuned model never stops.
    """
    stops = {tokenizer.eos_token, "<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>"}
    if tokenizer.pad_token is not None and tokenizer.pad_token not in stops:
        return
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    unwritten = [token for token in special if token not in str(tokenizer.chat_template)]
    usual = ["<|endoftext|>", "<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>", "<unk>"]
    for token in [*(token for token in usual if token in tokenizer.get_vocab()), *unwritten]:
        if token not in stops:
            tokenizer.pad_token = token
            return
    raise ModelError(
        Problem(
            where="model.name",
            message=f"the tokenizer of {name!r} has no token that is safe to pad with",
            hint="set `pad_token` in its tokenizer_config.json to a token that ends no turn",
        )
    )


def device(hardware: Hardware) -> "torch.device":
    """The device to work on: as asked, or the GPU where there is one.

    Raises:
        ModelError: a GPU is asked for and torch sees none.
    """
    import torch

    available = torch.cuda.is_available()
    if hardware.device == "cuda" and not available:
        raise ModelError(
            Problem(
                where="hardware.device",
                message="`cuda` is asked for, but torch sees no GPU",
                hint=f"torch {torch.__version__}; install a CUDA build, or set `hardware.device: auto`",
            )
        )
    if not available or hardware.device == "cpu":
        return torch.device("cpu")
    # One of several processes has a GPU of its own. By its number also where there is one: the trainer's is
    # `cuda:0`, and a model on plain `cuda` would pass for one that is spread over other devices.
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def dtype(model: Model, on: "torch.device") -> "torch.dtype":
    """The weights' type on that device: as asked, else bfloat16 on GPUs that compute in it, else float32.

    The CPU stays at float32: there a greedy answer then does not depend on how prompts are batched.
    """
    import torch

    if model.dtype != "auto":
        asked: torch.dtype = getattr(torch, model.dtype)
        return asked
    native = on.type == "cuda" and torch.cuda.get_device_capability(on) >= (8, 0)
    return torch.bfloat16 if native else torch.float32


def load_model(
    model: Model,
    hardware: Hardware,
    quantize_4bit: bool = False,
    double_quantization: bool = True,
    weights: "torch.dtype | None" = None,
    attention: str | None = None,
    scores: bool = False,
) -> Any:
    """Load a causal language model onto its device, in evaluation mode.

    Args:
        quantize_4bit: NF4 weights through bitsandbytes, for QLoRA.
        double_quantization: quantise the NF4 scales as well.
        weights: the weights' type; default: `dtype(model, device(hardware))`.
        attention: an implementation as transformers calls it; default: its choice.
        scores: a reward model, with one output in place of its words: random, if the folder has none.

    Raises:
        ModelError: see `model_folder`; or transformers does not know the architecture, or memory does not
            hold the weights.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, BitsAndBytesConfig

    from kit.models.quiet import quiet_libraries

    quiet_libraries()
    if hardware.num_threads:
        torch.set_num_threads(hardware.num_threads)
    folder, on = model_folder(model), device(hardware)
    kind = weights or dtype(model, on)
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quantization,
        bnb_4bit_compute_dtype=kind,
        llm_int8_skip_modules=["score"] if scores else None,  # it is trained whole
    )
    network = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
    try:
        loaded = network.from_pretrained(
            folder,
            dtype=kind,
            attn_implementation=attention,
            device_map={"": on},
            quantization_config=quantization if quantize_4bit else None,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            **({"num_labels": 1} if scores else {}),
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _not_loaded(f"{model.name!r} cannot be loaded", error, _advice(folder)) from error
    except RuntimeError as error:
        if not ran_out(error):
            raise
        hint = "load it in less: `model.dtype=bfloat16`, `method=qlora`, or take a smaller model"
        raise _not_loaded(f"memory does not hold {model.name!r} as {kind}", error, hint) from error
    return loaded.eval()


def load_base(config: Config, scores: bool = False) -> Any:
    """The base as the run's method holds it: in 4 bits for QLoRA, else in the model's own type.

    Args:
        scores: as of `load_model`.

    Raises:
        ModelError: see `load_model`.
    """
    method = config.method
    base = load_model(
        config.model,
        config.hardware,
        quantize_4bit=method.name == "qlora",
        double_quantization=method.double_quantization,
        scores=scores,
    )
    if method.name == "qlora" and method.use_dora:
        keep_layout(base)
    return base


def load_tuned(golden: Path, config: Config) -> Any:
    """The tuned model of a run: full weights, or the adapter beside its base as in training, not merged.

    A 4-bit base cannot take an adapter in without rounding it away, and `disable_adapter()` of what is
    returned is the base itself, so that both need the memory of one.

    Args:
        golden: a run's `golden/` folder.
        config: settings whose `model` is the base that the run started from, and whose `method` the run's.

    Raises:
        ModelError: there is no golden checkpoint, or it was made from another base model.
    """
    record = golden / "golden.json"
    if not record.is_file():
        raise ModelError(
            Problem(
                where=str(golden),
                message="there is no golden checkpoint",
                hint="finish the run with `casekit train --resume`",
            )
        )
    scores = config.train.stage == "reward"
    if not is_adapter(golden):
        model = config.model.model_copy(update={"name": str(golden)})
        return load_model(model, config.hardware, scores=scores)
    made_from = json.loads(record.read_text(encoding="utf-8"))["base_sha256"]
    if made_from != weights_sha256(model_folder(config.model)):
        raise ModelError(
            Problem(
                where=str(golden),
                message=f"the adapter was trained on other weights than {config.model.name!r} has now",
                hint="an adapter only fits its own base: restore that model or revision, or train again",
            )
        )
    from peft import PeftModel

    from kit.models.bottleneck import register

    register()
    tuned = PeftModel.from_pretrained(load_base(config, scores), str(golden)).eval()
    if tuned.active_peft_config.is_prompt_learning:
        count_positions(tuned)
    return tuned


def is_adapter(golden: Path) -> bool:
    """Whether a golden checkpoint is an adapter that needs its base, not a model of its own."""
    return (golden / "adapter_config.json").is_file()


def weights_sha256(folder: Path) -> str:
    """The sha256 over the names and contents of a model folder's weight files.

    Files in the Hub's cache are links to blobs that are named by their sha256, so those need no reading;
    others are read once a process, with a word where that takes long.
    """
    digests = {}
    for path in sorted(folder.glob("*.safetensors")):
        blob = path.resolve().name
        facts = path.stat()
        named = re.fullmatch(r"[0-9a-f]{64}", blob)
        digests[path.name] = blob if named else _file_sha256(path, facts.st_size, facts.st_mtime_ns)
    return sha256_json(digests)


_LONG_TO_READ = 2_000_000_000
"""Bytes that take a disk seconds to hand over."""


@lru_cache
def _file_sha256(path: Path, size: int, mtime_ns: int) -> str:  # a file that changed is another key
    if size < _LONG_TO_READ:
        return sha256_file(path)
    from rich.console import Console

    Console(stderr=True).print(f"hashing {path.name} ({size / 1e9:.0f} GB)", style="dim", highlight=False)
    return sha256_file(path)
