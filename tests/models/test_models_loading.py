"""Loading models: real folders, the cache, a Hub on loopback, and what is said when it cannot be."""

import hashlib
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kit.config.errors import ModelError
from kit.config.schema import Config, Model
from kit.config.schema_train import Hardware
from kit.models import loading
from kit.models.loading import (
    device,
    dtype,
    load_base,
    load_model,
    load_tokenizer,
    load_tuned,
    model_folder,
    weights_sha256,
)
from kit.models.tiny import new_model, new_tokenizer

SHAPE = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
}
CPU = Hardware(device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A small model with random weights."""
    made = tmp_path_factory.mktemp("model")
    tokenizer = new_tokenizer(["where is my order?"] * 3, vocabulary=SHAPE["vocab_size"])
    new_model(tokenizer, seed=3, architecture=SHAPE).save_pretrained(made)
    tokenizer.save_pretrained(made)
    return made


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may break."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_local_folder_loads_for_inference(folder):
    import torch

    model = load_model(Model(name=str(folder)), CPU)
    assert not model.training
    assert next(model.parameters()).dtype == torch.float32
    assert load_model(Model(name=str(folder), dtype="bfloat16"), CPU).dtype == torch.bfloat16


def test_four_bit_weights_are_nf4_with_quantised_scales(folder):
    model = load_model(Model(name=str(folder)), CPU, quantize_4bit=True)
    layer = model.model.layers[0].mlp.up_proj
    assert type(layer).__name__ == "Linear4bit"
    assert layer.weight.quant_state.quant_type == "nf4" and layer.weight.quant_state.nested


def test_a_folder_of_pickled_weights_is_refused(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no safetensors weights \(has pytorch_model.bin\)"):
        load_model(Model(name=str(copy)), CPU)


@pytest.fixture
def sharded(folder: Path, tmp_path: Path) -> Path:
    """The model in several weight files with an index."""
    made = tmp_path / "sharded"
    model = load_model(Model(name=str(folder)), CPU)
    model.save_pretrained(made, max_shard_size="40KB")
    load_tokenizer(Model(name=str(folder))).save_pretrained(made)
    assert len(list(made.glob("*.safetensors"))) > 1
    return made


def test_weights_in_several_files_load(sharded):
    assert load_model(Model(name=str(sharded)), CPU).config.hidden_size == SHAPE["hidden_size"]


def test_a_missing_weight_file_is_named(sharded):
    first, second = sorted(sharded.glob("*.safetensors"))[:2]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-10])
    with pytest.raises(ModelError, match=f"{first.name} is missing") as caught:
        load_model(Model(name=str(sharded)), CPU)
    text = str(caught.value)
    assert second.name in text, "all that is wrong is told at once"
    assert "incomplete: delete" in text and "own Python code" not in text and "pickle" not in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda data: data[:-100], r"model.safetensors has [\d,]+ bytes where its header wants"),
        (lambda data: data[:60], "model.safetensors is cut short"),
        (lambda data: b"", "model.safetensors is cut short"),
        (lambda data: data[:8] + b"#" * 80 + data[88:], "its header is no safetensors header"),
        (lambda data: b"<!DOCTYPE html><html>not found</html>", "model.safetensors is cut short or damaged"),
    ],
)
def test_a_damaged_weight_file_is_told_without_a_traceback(break_it, said, copy):
    weights = copy / "model.safetensors"
    weights.write_bytes(break_it(weights.read_bytes()))
    for load in (lambda model: load_model(model, CPU), model_folder):
        with pytest.raises(ModelError, match=said) as caught:
            load(Model(name=str(copy)))
    assert "incomplete: delete" in str(caught.value) and caught.value.exit_code == 2


def test_a_folder_without_config_is_called_incomplete(copy):
    (copy / "config.json").unlink()
    with pytest.raises(ModelError, match=r"has no config.json: incomplete"):
        load_model(Model(name=str(copy)), CPU)


def test_a_tokenizer_needs_no_weights(copy):
    (copy / "model.safetensors").unlink()
    assert load_tokenizer(Model(name=str(copy))).eos_token == "<|im_end|>"
    with pytest.raises(ModelError, match=r"no .safetensors file is there") as caught:
        load_model(Model(name=str(copy)), CPU)
    assert "incomplete: delete" in str(caught.value)


def test_a_damaged_tokenizer_is_told_without_a_traceback(copy):
    words = copy / "tokenizer.json"
    words.write_text(words.read_text()[:200])
    with pytest.raises(ModelError, match=r"the tokenizer of .* cannot be loaded"):
        load_tokenizer(Model(name=str(copy)))


def test_a_model_that_brings_code_is_refused_and_its_code_never_runs(copy, tmp_path):
    ran = tmp_path / "ran"
    (copy / "evil.py").write_text(f"open({str(ran)!r}, 'w').write('x')\nclass Net: pass\nclass Conf: pass\n")
    edit(
        copy / "config.json",
        model_type="evil",
        auto_map={"AutoConfig": "evil.Conf", "AutoModelForCausalLM": "evil.Net"},
    )
    with pytest.raises(ModelError, match="own Python code are not loaded"):
        load_model(Model(name=str(copy)), CPU)
    assert not ran.exists()


def test_tiny_that_is_not_built_says_what_builds_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CASEKIT_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="tiny is not built yet") as caught:
        load_tokenizer(Model(name="tiny"))
    assert "casekit data prepare" in str(caught.value)


def test_padding_is_never_the_end_of_a_turn(copy):
    edit(copy / "tokenizer_config.json", pad_token="<|im_end|>")
    tokenizer = load_tokenizer(Model(name=str(copy)))
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token == "<|endoftext|>"


def test_a_tokenizer_with_nothing_to_pad_with_is_refused(copy):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        text = (copy / name).read_text().replace("<|endoftext|>", "<|eot_id|>")
        (copy / name).write_text(text)
    edit(copy / "tokenizer_config.json", pad_token=None)
    with pytest.raises(ModelError, match="no token that is safe to pad with"):
        load_tokenizer(Model(name=str(copy)))


def test_a_base_model_without_chat_template_is_refused(copy):
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="has no chat template"):
        load_tokenizer(Model(name=str(copy)))


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device(Hardware()).type == "cpu"
    with pytest.raises(ModelError, match="torch sees no GPU"):
        device(Hardware(device="cuda"))


def test_a_gpu_is_named_by_its_number_as_the_trainer_names_it(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert str(device(Hardware())) == "cuda:0"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert str(device(Hardware())) == "cuda:3", "one of several processes has a GPU of its own"
    assert str(device(Hardware(device="cpu"))) == "cpu"


def test_a_model_that_memory_does_not_hold_is_refused_with_what_helps(folder, monkeypatch):
    import torch
    from transformers import AutoModelForCausalLM

    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", full)
    with pytest.raises(ModelError, match=r"memory does not hold .* as torch.float32") as caught:
        load_model(Model(name=str(folder)), CPU)
    assert "qlora" in str(caught.value) and caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("capability", "wanted"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")]
)
def test_weights_are_bfloat16_only_where_the_gpu_computes_in_it(capability, wanted, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda on: capability)
    assert dtype(Model(), torch.device("cuda")) == getattr(torch, wanted)
    assert dtype(Model(), torch.device("cpu")) == torch.float32
    assert dtype(Model(dtype="float16"), torch.device("cpu")) == torch.float16


def golden_adapter(folder: Path, golden: Path, base_sha256: str) -> None:
    from peft import LoraConfig, get_peft_model

    base = load_model(Model(name=str(folder)), CPU)
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    adapted.save_pretrained(golden)
    (golden / "golden.json").write_text(json.dumps({"step": 1, "base_sha256": base_sha256}))


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_an_adapter_stays_beside_its_base_and_switched_off_it_is_the_base(method, tmp_path):
    """One set of weights for both systems, of one precision: a 72B base is not held twice."""
    import torch

    folder = tmp_path / "base"
    tokenizer = new_tokenizer(["where is my order?"] * 3, vocabulary=SHAPE["vocab_size"])
    in_blocks = {**SHAPE, "hidden_size": 64, "head_dim": 64}  # 4-bit weights come in blocks of 64
    new_model(tokenizer, seed=3, architecture=in_blocks).save_pretrained(folder)
    golden_adapter(folder, tmp_path, weights_sha256(folder))
    config = Config.model_validate({"model": str(folder), "method": {"name": method}})
    tuned = load_tuned(tmp_path, config)
    bare = load_model(config.model, CPU, quantize_4bit=method == "qlora")
    ids = torch.arange(20)[None]
    with torch.no_grad():
        adapted = tuned(ids).logits
        with tuned.disable_adapter():
            assert torch.equal(tuned(ids).logits, bare(ids).logits)
        assert (adapted - bare(ids).logits).abs().max() > 1e-2
        assert torch.equal(load_base(config)(ids).logits, bare(ids).logits)
        if method == "lora":
            merged = tuned.merge_and_unload()
            assert (merged(ids).logits - adapted).abs().max() < 1e-4


def test_weights_are_read_once_and_again_when_they_change(folder, tmp_path, monkeypatch):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    read = []
    monkeypatch.setattr(
        "kit.models.loading.sha256_file", lambda path: read.append(path.name) or str(path.stat().st_size)
    )
    first = weights_sha256(copy)
    assert weights_sha256(copy) == first and len(read) == 1
    with (copy / "model.safetensors").open("ab") as file:
        file.write(b"more")
    assert weights_sha256(copy) != first and len(read) == 2


def test_reading_much_is_said(folder, monkeypatch, capfd):
    monkeypatch.setattr("kit.models.loading._LONG_TO_READ", 1)
    monkeypatch.setattr("kit.models.loading._file_sha256", loading._file_sha256.__wrapped__)
    weights_sha256(folder)
    assert "hashing model.safetensors" in capfd.readouterr().err


def test_an_adapter_is_not_put_on_a_base_it_was_not_trained_on(folder, tmp_path):
    golden_adapter(folder, tmp_path, "0" * 64)
    with pytest.raises(ModelError, match="trained on other weights"):
        load_tuned(tmp_path, Config.model_validate({"model": str(folder)}))


def test_a_run_without_golden_checkpoint_says_how_to_get_one(tmp_path):
    with pytest.raises(ModelError, match="train --resume"):
        load_tuned(tmp_path, Config())


class Hub(BaseHTTPRequestHandler):
    """As much of the Hugging Face Hub as a snapshot download asks for, serving one model."""

    files: dict[str, bytes]
    asked: list[str]
    commit = "c0ffee" + "0" * 34

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        self.asked.append(path)
        if path.startswith("/api/models/clinic/small/revision/"):
            siblings = [{"rfilename": name} for name in self.files]
            content = json.dumps({"id": "clinic/small", "sha": self.commit, "siblings": siblings}).encode()
        elif path.startswith("/api/models/clinic/small/tree/"):
            rows = [
                {"type": "file", "path": n, "size": len(b), "oid": "0" * 40} for n, b in self.files.items()
            ]
            content = json.dumps(rows).encode()
        elif path.startswith("/clinic/small/resolve/") and path.rsplit("/", 1)[1] in self.files:
            content = self.files[path.rsplit("/", 1)[1]]
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", self.commit)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    """A Hub on loopback with `clinic/small`, and an empty cache."""
    import huggingface_hub.constants as constants

    Hub.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    Hub.files |= {"pytorch_model.bin": b"pickle", "modeling.py": b"raise SystemExit"}
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    yield server
    server.shutdown()


def test_a_hub_id_is_fetched_once_and_only_its_safe_files(hub, folder):
    model = Model(name="clinic/small", revision=Hub.commit)
    found = model_folder(model)
    names = {path.name for path in found.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
    assert not names & {"pytorch_model.bin", "modeling.py"}
    assert any(Hub.commit in path for path in Hub.asked), "the revision was not honoured"
    assert weights_sha256(found) == weights_sha256(folder)

    hub.shutdown()  # the network is gone: the cache serves
    hub.server_close()
    assert load_tokenizer(model).eos_token == "<|im_end|>"
    assert load_model(model, CPU).config.hidden_size == SHAPE["hidden_size"]


def test_reading_a_tokenizer_fetches_no_weights(hub, monkeypatch):
    model = Model(name="clinic/small", revision=Hub.commit)
    assert load_tokenizer(model).eos_token == "<|im_end|>"
    fetched = {path.rsplit("/", 1)[1] for path in Hub.asked if "/resolve/" in path}
    assert {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= fetched
    assert not {"model.safetensors", "pytorch_model.bin", "modeling.py"} & fetched

    # Off line, what was fetched of the model is no model yet.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert load_tokenizer(model).eos_token == "<|im_end|>"
    with pytest.raises(ModelError) as caught:
        load_model(model, CPU)
    text = str(caught.value)
    assert "safetensors" in text and "can run code" not in text and "own Python code" not in text
    assert "connect to a network" in text


def test_a_cache_that_holds_a_part_of_the_weights_is_called_incomplete(hub, monkeypatch):
    model = Model(name="clinic/small", revision=Hub.commit)
    (weights,) = model_folder(model).glob("*.safetensors")
    blob = weights.resolve()
    blob.write_bytes(blob.read_bytes()[:-100])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="bytes where its header wants") as caught:
        load_model(model, CPU)
    cache = blob.parents[1]
    assert f"incomplete: delete {cache} and fetch it again" in str(caught.value)

    shutil.rmtree(cache)  # the advice works
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert load_model(model, CPU).config.hidden_size == SHAPE["hidden_size"]


def test_a_hub_model_of_pickled_weights_is_refused_by_name(hub):
    del Hub.files["model.safetensors"]
    with pytest.raises(ModelError, match=r"no safetensors weights \(has pytorch_model.bin\)") as caught:
        model_folder(Model(name="clinic/small", revision=Hub.commit))
    assert "can run code" in str(caught.value)


def test_an_unknown_hub_id_is_named(hub):
    with pytest.raises(ModelError, match="'clinic/smal' is neither a folder nor a model on the Hub"):
        load_model(Model(name="clinic/smal"), CPU)


def test_without_a_network_it_says_what_it_would_have_fetched(hub):
    hub.shutdown()
    hub.server_close()
    with pytest.raises(ModelError) as caught:
        load_tokenizer(Model(name="clinic/small", revision="main"))
    text = str(caught.value)
    assert "cannot fetch 'clinic/small' at revision 'main' from the Hugging Face Hub" in text
    assert "`model: tiny`" in text and "its tokenizer (files *.json," in text
    with pytest.raises(ModelError, match="config, tokenizer and safetensors weights"):
        load_model(Model(name="clinic/small", revision="main"), CPU)


@pytest.mark.parametrize(
    "name", ["/no/such/folder", "./no/such", "../no", "~/no-such-folder", "models/no/such", "no-such/"]
)
def test_a_path_that_is_not_there_is_no_id_of_the_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "_fetch", lambda *_: pytest.fail("the Hub was asked"))
    for load in (model_folder, load_tokenizer):
        with pytest.raises(ModelError, match=r"the folder '/.*' does not exist"):
            load(Model(name=name))


def test_a_file_is_no_folder_of_a_model(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match=r"model\.safetensors' is a file, expected a folder"):
        model_folder(Model(name=str(tmp_path / "model.safetensors")))
