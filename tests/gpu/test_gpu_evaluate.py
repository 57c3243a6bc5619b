"""Answers, perplexity and `casekit evaluate` on a GPU."""

import copy
import json
import shutil

import pytest
import torch
from gpu_world import REHEARSAL, WHERE, casekit, narrow, newest_run, on_a_gpu
from small_models import make_model, make_tokenizer

import kit.evaluate.generate as generation
from kit.config.schema import Sampling
from kit.evaluate.batching import memory_share
from kit.evaluate.continuous import why_not
from kit.evaluate.generate import generate, generation_config, read_answer
from kit.evaluate.likelihood import measure_likelihood
from kit.evaluate.prompts import Prompt
from kit.evaluate.sampling import draw

pytestmark = [on_a_gpu, pytest.mark.slow]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def model():
    """In float32, whose matrix products are not rounded to TF32 unless somebody asks for it."""
    assert torch.get_float32_matmul_precision() == "highest"
    return make_model(0).to(WHERE)


@pytest.fixture
def many_stops(monkeypatch):
    """A random model hardly ever ends a turn; here a quarter of all bytes do."""
    stops = generation.stop_ids
    monkeypatch.setattr(generation, "stop_ids", lambda tokenizer: [*stops(tokenizer), *range(64)])


def prompts(count):
    texts = [f"Question {n}{' and more' * (n % 5)}" for n in range(count)]
    answer = "It can fall in value."
    return [
        Prompt(f"{n:04x}", [{"role": "user", "content": text}], {}, {}, str(n), answer)
        for n, text in enumerate(texts)
    ]


def answers(model, tokenizer, asked, size, decoding="greedy"):
    made = generate(
        model,
        tokenizer,
        asked,
        decoding=decoding,
        max_new_tokens=16,
        batch_size=size,
        seed=1,
        sampling=Sampling(temperature=1.0, top_p=0.95),
    )
    return [(one.id, one.output, one.new_tokens, one.finished) for one in made]


def generated(model, tokenizer, asked):
    """What transformers' own `generate` says to each prompt alone."""
    settings = generation_config(tokenizer, 16)
    for prompt in asked:
        ids = torch.tensor([prompt.ids(tokenizer)], device=WHERE)
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        said = out[0, ids.shape[1] :].tolist()
        yield prompt.id, *read_answer(tokenizer, said, settings.eos_token_id)


@pytest.mark.parametrize("decoding", ["greedy", "sampled"])
def test_answers_in_float32_do_not_depend_on_the_batch(model, tokenizer, decoding, many_stops):
    asked = prompts(24)
    alone = answers(model, tokenizer, asked, 1, decoding)
    assert len({tokens for *_, tokens, _ in alone}) > 3, "they are of many lengths"
    for size in (4, 9, 64, "auto"):
        assert answers(model, tokenizer, asked, size, decoding) == alone
    if decoding == "greedy":
        assert alone == list(generated(model, tokenizer, asked))


def test_answers_are_those_of_a_cpu(model, tokenizer, many_stops):
    asked, on_cpu = prompts(24), copy.deepcopy(model).cpu()
    assert answers(model, tokenizer, asked, 8) == answers(on_cpu, tokenizer, asked, 8)


def test_how_many_answers_in_bfloat16_depend_on_the_batch_is_measured(model, tokenizer, many_stops, measured):
    """None is promised to be the same, for near ties turn; most are."""
    narrowed, asked = copy.deepcopy(model).bfloat16(), prompts(24)
    alone, together = (answers(narrowed, tokenizer, asked, size) for size in (1, 24))
    same = sum(one == two for one, two in zip(alone, together, strict=True))
    assert same >= 12
    measured(f"greedy answers in bfloat16, 24 at once against one by one: {same} of 24 the same")


def test_an_adapter_answers_there_beside_its_base(model, tokenizer, many_stops):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(5)
    lora = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    adapted, asked = get_peft_model(copy.deepcopy(model), lora).eval(), prompts(11)
    assert why_not(adapted) == ""
    tuned = answers(adapted, tokenizer, asked, 4)
    assert tuned == list(generated(adapted, tokenizer, asked))
    with adapted.disable_adapter():
        assert answers(adapted, tokenizer, asked, 4) == list(generated(model, tokenizer, asked)) != tuned


def test_a_nucleus_is_drawn_from_as_on_a_cpu():
    torch.manual_seed(0)
    scores, points = torch.randn(64, 500) * 3, torch.rand(64, dtype=torch.float64)
    sampling = Sampling(temperature=0.8, top_p=0.9)
    there = draw(scores.to(WHERE), points.to(WHERE), sampling)
    assert there.device.type == WHERE and there.tolist() == draw(scores, points, sampling).tolist()


def test_perplexity_is_that_of_a_cpu_but_for_rounding(model, tokenizer):
    asked, on_cpu = prompts(8), copy.deepcopy(model).cpu()
    there = measure_likelihood(model, tokenizer, asked, 512, "base")
    here = measure_likelihood(on_cpu, tokenizer, asked, 512, "base")
    assert [line["tokens"] for line in there] == [line["tokens"] for line in here]
    assert [line["nats"] for line in there] == pytest.approx([line["nats"] for line in here], rel=1e-4)


def test_how_full_the_memory_was_is_known_on_a_gpu_alone():
    taken = torch.empty(2**28, dtype=torch.uint8, device=WHERE)
    found = memory_share()
    assert found == 1.0 if REHEARSAL else 0 < found < 1
    if not REHEARSAL:
        assert found * torch.cuda.get_device_properties(0).total_memory >= taken.numel()


def test_the_command_evaluates_what_it_trained(pristine, tmp_path, capfd):
    project = shutil.copytree(pristine, tmp_path / "project")
    assert casekit("train", "train.max_steps=2", "-p", str(project)) == 0
    words = ["evaluate.latency_prompts=3", "evaluate.bootstrap_draws=200"]
    assert casekit("evaluate", *words, "-p", str(project)) == 0, capfd.readouterr().err
    (folder,) = (path.parent for path in project.glob("evaluations/*/scores.json"))
    loaded = json.loads((folder / "loaded.json").read_text())
    wanted = "cpu" if REHEARSAL else torch.cuda.get_device_name()
    assert {loaded[system]["device"] for system in ("base", "tuned")} == {wanted}
    assert {loaded[system]["dtype"] for system in ("base", "tuned")} == {str(narrow()).removeprefix("torch.")}
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    asked = {(line["id"], line["system"]) for line in lines if line["decoding"] == "greedy"}
    assert len(asked) == 2 * 8 and all(line["seconds"] > 0 for line in lines)
    times = [json.loads(line) for line in (folder / "latency.jsonl").read_text().splitlines()]
    assert {line["system"] for line in times} == {"base", "tuned"}
    assert newest_run(project).is_dir()
