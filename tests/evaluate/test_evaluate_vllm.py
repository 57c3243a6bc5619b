"""vLLM as what answers, against a stand-in with its interface: no GPU is needed, and none was tried."""

import json

import pytest
import vllm_stand_in
from vllm_stand_in import LLM

import kit.evaluate.generate as generation
from kit.config.errors import ConfigError
from kit.config.layers import validate_tree
from kit.config.schema import Hardware
from kit.evaluate import vllm_engine
from kit.evaluate.answers import answer
from kit.evaluate.evaluate import evaluate
from kit.evaluate.predictions import read_lines
from kit.evaluate.prompts import load_prompts
from kit.hooks import Hooks


def by_vllm(config, **more):
    settings = {"engine": "vllm", "latency_prompts": 0, **more}
    return config.model_copy(
        update={
            "hardware": Hardware(device="auto"),
            "evaluate": config.evaluate.model_copy(update=settings),
        }
    )


def answers(folder):
    return {
        (line["id"], line["system"], line["decoding"]): (line["output"], line["new_tokens"], line["finished"])
        for line in read_lines(folder / "predictions.jsonl")
    }


def greedy(found):
    return {key: said for key, said in found.items() if key[2] == "greedy"}


@pytest.fixture(autouse=True)
def many_stops(monkeypatch):
    """A random model hardly ever ends a turn; here a quarter of all bytes do."""
    stops = generation.stop_ids
    monkeypatch.setattr(generation, "stop_ids", lambda tokenizer: [*stops(tokenizer), *range(64)])


def asked(config, root, prepared, run, name):
    """The folder with what base and tuned said."""
    answer(config, run, load_prompts(prepared / "test"), root / name, root=root)
    return root / name


def by_transformers(config, *project):
    none_timed = config.evaluate.model_copy(update={"latency_prompts": 0})
    return asked(config.model_copy(update={"evaluate": none_timed}), *project, "by transformers")


@pytest.mark.slow
def test_an_adapter_is_laid_on_one_base_and_answers_as_in_transformers(adapted, monkeypatch):
    config, root, prepared, run = adapted("lora")
    wanted = answers(by_transformers(config, root, prepared, run))
    vllm_stand_in.install(monkeypatch)
    folder = evaluate(by_vllm(config), root, prepared, run, Hooks())
    found = answers(folder)
    assert greedy(found) == greedy(wanted)
    assert found.keys() == wanted.keys()

    (served,) = LLM.made
    assert (served.folder, served.max_lora_rank) == (config.model.name, 8)
    laid_on = [request and (request.lora_int_id, request.lora_path) for _, request in served.calls]
    assert laid_on == [None, None, (1, str(run / "golden")), (1, str(run / "golden"))]
    seeds = [params.seed for asked, _ in served.calls[:2] for params in asked]
    assert len(set(seeds)) == 24, "each prompt has its own, the same in both decodings"

    conditions = json.loads((folder / "scores.json").read_text())["conditions"]
    assert conditions["base"]["software"].startswith("vllm 0.30.0, torch ")
    assert (conditions["base"]["adapter"], conditions["base"]["device"]) == ("switched off", "a GPU")
    assert conditions["tuned"]["adapter"] == "beside the base, not merged"


@pytest.mark.slow
def test_full_weights_are_served_one_after_the_other_and_what_is_there_is_kept(project, monkeypatch):
    config, root, prepared, run = project
    wanted = greedy(answers(by_transformers(config, root, prepared, run)))
    vllm_stand_in.install(monkeypatch)
    monkeypatch.setattr(vllm_engine, "_PART", 10)
    folder = asked(by_vllm(config), root, prepared, run, "by vllm")
    assert greedy(answers(folder)) == wanted
    assert len({finished for *_, finished in wanted.values()}) == 2, "some ended by themselves, some were cut"
    assert [served.folder for served in LLM.made] == [config.model.name, str(run / "golden")]
    assert [len(asked) for asked, _ in LLM.made[0].calls] == [10, 10, 4] * 2

    # Killed after the first 13 answers: the others are asked, and sampled ones come out the same.
    path, whole = folder / "predictions.jsonl", answers(folder)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:13]))
    assert answers(asked(by_vllm(config), root, prepared, run, "by vllm")) == whole
    assert len(LLM.made[2].calls[0][0]) == 10 and len(LLM.made[2].calls[1][0]) == 1


def test_an_adapter_that_it_does_not_serve_is_refused(adapted, monkeypatch):
    config, root, prepared, run = adapted("lora")
    path = run / "golden" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "use_dora": True}))
    vllm_stand_in.install(monkeypatch)
    with pytest.raises(ConfigError, match=r"(?s)vLLM does not serve DoRA.*engine: transformers"):
        evaluate(by_vllm(config), root, prepared, run, Hooks())


def test_without_it_or_a_gpu_it_is_refused_before_anything_is_loaded(project, monkeypatch):
    config, root, prepared, run = project
    monkeypatch.setattr(vllm_engine, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"(?s)not installed.*casekit\[vllm\]"):
        evaluate(by_vllm(config), root, prepared, run, Hooks())
    monkeypatch.setattr(vllm_engine, "find_spec", lambda name: object())
    with pytest.raises(ConfigError, match="needs a GPU, and torch sees none"):
        evaluate(by_vllm(config), root, prepared, run, Hooks())
    assert not (root / "evaluations").exists()


REFUSED = {
    "response times": {"evaluate": {}},
    "lm-evaluation-harness": {"evaluate": {"harness": ["arc_easy"], "latency_prompts": 0}},
    "answer_perplexity reads": {
        "evaluate": {"metrics": ["exact_match", "answer_perplexity"], "latency_prompts": 0}
    },
    "the method is qlora": {"evaluate": {"latency_prompts": 0}, "method": {"name": "qlora"}},
    "does not serve DoRA": {"evaluate": {"latency_prompts": 0}, "method": {"use_dora": True}},
    "with rank 513": {"evaluate": {"latency_prompts": 0}, "method": {"rank": 513}},
    "with rank 514, twice": {
        "evaluate": {"latency_prompts": 0},
        "method": {"rank": 257, "init_lora_weights": "pissa"},
    },
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_it_cannot_measure_is_refused_with_the_settings(told):
    settings = {**REFUSED[told], "evaluate": {**REFUSED[told]["evaluate"], "engine": "vllm"}}
    with pytest.raises(ConfigError) as refused:
        validate_tree(settings, {})
    (problem,) = refused.value.problems
    assert told in problem.message and "engine: transformers" in problem.hint
    settings["evaluate"]["engine"] = "transformers"
    validate_tree(settings, {})
