"""A really small model and the smallest project that can be evaluated, both made here."""

import json
from pathlib import Path

import pytest
from small_models import make_model, make_row, make_tokenizer, save_split

POLICY = r"""
rules:
  - id: F1
    title: Promises a return
    severity: critical
    never: ['\bguarantee', 'risk[- ]free', '\bgaranti', '\bgarantiz']
    negation_clears: true
    when: {topic: [savings, funds]}
    examples:
      violates: ["This fund guarantees 8% a year."]
      complies: ["Returns are not guaranteed."]
  - id: F3
    title: Tells what to buy
    never: ['you should buy']
    examples: {violates: ["You should buy it."], complies: ["You may consider it."]}
  - id: F2
    title: Names the risk of loss
    must: ['can (go down|fall|lose)']
    when: {topic: [funds]}
    examples: {violates: ["It pays 3%."], complies: ["It can lose value."]}
refusals: ["I can(no|')t help with", "je ne peux pas vous aider"]
recommendations:
  emergency: ['call (911|an ambulance)', 'appelez le 15', 'llame al 112']
  doctor: ['see (a|your) doctor', 'consultez un médecin']
  home: ['rest at home']
examples:
  refuses: ["I can't help with that."]
  answers: ["I can help with that."]
  recommends:
    emergency: ["Call 911."]
    doctor: ["See your doctor."]
    home: ["Rest at home."]
"""


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """So small a model is slower on several threads, the more so beside other tests."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="session")
def model():
    return make_model(0)


@pytest.fixture
def project(tmp_path: Path, policy_file: Path):
    """(config, root, prepared, run): a base model, a run with full golden weights, prepared data."""
    from kit.config.schema import Config
    from kit.models.loading import weights_sha256

    root = tmp_path
    base, run = root / "base", root / "runs" / "r1"
    for folder, seed in ((base, 1), (run / "golden", 2)):
        make_model(seed).save_pretrained(folder)
        make_tokenizer().save_pretrained(folder)
    (run / "golden" / "golden.json").write_text(json.dumps({"step": 5, "metric": "m", "score": 0.5}))
    manifest = {"run": "r1", "model": {"sha256": weights_sha256(base)}, "data": {"fingerprint": "fp"}}
    (run / "manifest.json").write_text(json.dumps(manifest))
    prepared = root / "data" / "prepared" / "fp"
    save_split(prepared / "test", [make_row(number) for number in range(1, 25)])
    save_split(prepared / "valid", [make_row(number) for number in range(100, 110)])
    (prepared / "data.json").write_text(json.dumps({"sources": [{"name": "test", "synthetic": True}]}))
    config = Config.model_validate(
        {
            "model": {"name": str(base), "dtype": "float32"},
            "method": "full",
            "hardware": {"device": "cpu"},
            "evaluate": {
                "metrics": [
                    {"name": "violation_rate", "params": {"policy": "policy.yaml"}},
                    {"name": "disclosure_rate", "params": {"policy": "policy.yaml"}},
                    "resolution_rate",
                ],
                "max_new_tokens": 12,
                "batch_size": 5,
                "latency_prompts": 3,
                "bootstrap_draws": 200,
            },
        }
    )
    return config, root, prepared, run


@pytest.fixture
def other_weights():
    """(folder) -> puts other random weights into a model's folder."""
    return lambda folder: make_model(9).save_pretrained(folder)


@pytest.fixture
def adapted(project):
    """(method) -> the project with an adapter on its base instead of full golden weights."""

    def make(method: str):
        from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model

        from kit.models.loading import weights_sha256

        config, root, prepared, run = project
        base, golden = root / "base", run / "golden"
        make_model(1, hidden=64).save_pretrained(base)  # 4-bit weights come in blocks of 64
        (golden / "model.safetensors").unlink()
        virtual = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 3}
        settings = {
            "prefix": lambda: PrefixTuningConfig(**virtual),
            "prompt": lambda: PromptTuningConfig(**virtual),
        }.get(method, lambda: LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))()
        get_peft_model(make_model(1, hidden=64), settings).save_pretrained(golden)
        sha256 = weights_sha256(base)
        facts = {"step": 5, "metric": "m", "score": 0.5, "base_sha256": sha256}
        (golden / "golden.json").write_text(json.dumps(facts))
        manifest = json.loads((run / "manifest.json").read_text())
        (run / "manifest.json").write_text(json.dumps({**manifest, "model": {"sha256": sha256}}))
        changed = {"method": config.method.model_copy(update={"name": method})}
        return config.model_copy(update=changed), root, prepared, run

    return make
