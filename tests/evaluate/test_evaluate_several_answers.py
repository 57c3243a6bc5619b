"""Several sampled answers a prompt: drawn by the prompt and their number alone, none lost, none doubled."""

import json
import random
from collections import Counter

import pytest
import vllm_stand_in
import yaml
from compare_samples import casekit, read, write
from judge_stub import Says, endpoint
from test_evaluate_served import PROMPTS, served
from vllm_stand_in import LLM

import kit.evaluate.generate as generation
from kit.config.errors import ConfigError, DataError
from kit.config.schema import Hardware
from kit.evaluate.answers import answer
from kit.evaluate.evaluate import evaluate
from kit.evaluate.given import read_given
from kit.evaluate.predictions import read_lines
from kit.evaluate.prompts import load_prompts
from kit.evaluate.served import answer_by_endpoint
from kit.hooks import Hooks

__all__ = ["casekit"]  # a fixture

SAMPLES = 3


@pytest.fixture(autouse=True)
def many_stops(monkeypatch):
    """A random model hardly ever ends a turn; here a quarter of all bytes do, and lengths differ."""
    stops = generation.stop_ids
    monkeypatch.setattr(generation, "stop_ids", lambda tokenizer: [*stops(tokenizer), *range(64)])


def several(config, answers=SAMPLES, **more):
    settings = {
        "latency_prompts": 0,
        "max_prompts": 6,
        "sampling": config.evaluate.sampling.model_copy(update={"answers": answers, "temperature": 1.0}),
        **more,
    }
    return config.model_copy(update={"evaluate": config.evaluate.model_copy(update=settings)})


def said(folder):
    """(id, system, decoding, sample) -> the answer."""
    lines = read_lines(folder / "predictions.jsonl")
    keys = Counter((line["id"], line["system"], line["decoding"], line["sample"]) for line in lines)
    assert max(keys.values()) == 1, "no answer is there twice"
    return {key: (line["output"], line["new_tokens"]) for key, line in zip(keys, lines, strict=True)}


def drawn(found):
    return {key: text for key, text in found.items() if key[2] == "sampled"}


@pytest.mark.slow
def test_answers_depend_on_prompt_and_number_alone(project):
    config, root, prepared, run = project
    prompts = load_prompts(prepared / "test")[:6]

    def asked(name, settings, order=prompts):
        answer(settings, run, order, root / name, root=root)
        return said(root / name)

    whole = asked("whole", several(config))
    assert len(drawn(whole)) == 6 * 2 * SAMPLES
    for prompt in prompts:
        for system in ("base", "tuned"):
            texts = {whole[prompt.id, system, "sampled", sample] for sample in range(SAMPLES)}
            assert len(texts) > 1, "each is drawn for itself; some end at once"
    assert asked("one at a time", several(config, batch_size=1)) == whole
    assert asked("other order", several(config, batch_size=4), prompts[::-1]) == whole
    first = {key: text for key, text in whole.items() if key[3] == 0}
    assert asked("one", several(config, 1)) == first, "the first is the same however many are drawn"

    path = root / "whole" / "predictions.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    random.Random(0).shuffle(lines)
    path.write_text("".join(lines[:20]) + lines[20][:30])  # killed in the middle of a line
    assert asked("whole", several(config)) == whole
    assert path.read_text().startswith("".join(lines[:20])), "what was there was not made again"


@pytest.mark.slow
def test_an_evaluation_scores_them_and_meets_a_file_of_several(project, casekit):
    config, root, prepared, run = project
    settings = several(config)
    folder = evaluate(settings, root, prepared, run, Hooks())
    scores = read(folder / "scores.json")
    found = scores["worst_at_k"]
    assert found["answers"] == SAMPLES and found["validity"]["tuned"]["n"] == 6 * SAMPLES
    assert {one["name"] for one in found["metrics"]} == {"violation_rate", "disclosure_rate"}
    assert scores["conditions"]["tuned"]["decoding"]["sampling"]["answers"] == SAMPLES
    for system, decoded in (("base", "sampled"), ("tuned", "sampled")):
        for item in scores["items"]:
            assert item["drawn"][system][0]["output"] == item[decoded][system]["output"]

    (root / "settings.yaml").write_text(
        yaml.safe_dump({"evaluate": settings.evaluate.model_dump(mode="json")})
    )
    how = ("-p", root, "--config", root / "settings.yaml", "--out", root / "out")
    assert casekit("compare", f"{folder.name}:base", folder.name, *how)[0] in (0, 4)
    assert read(root / "out" / "scores.json")["worst_at_k"] == found
    outside = [
        {"id": item["id"], "prompt": item["prompt"], "output": "It can fall in value.", "sample": sample}
        for item in scores["items"]
        for sample in range(SAMPLES)
    ]
    code, _, err = casekit("compare", folder.name, write(root / "outside.jsonl", outside), *how)
    assert code == 0, err
    told = " ".join(err.split())
    assert f"the first of outside is held against the greedy answer of {folder.name}." in told
    mixed = read(root / "out" / "scores.json")["worst_at_k"]
    assert [one["at"][-1]["base"] for one in mixed["metrics"]] == [
        one["at"][-1]["tuned"] for one in found["metrics"]
    ]
    assert mixed["further"] == {"base": 0, "tuned": 1}, "the sampled answers stand beside the greedy ones"


@pytest.mark.slow
def test_more_answers_go_on_from_those_that_are_there_and_fewer_need_no_model(project, monkeypatch):
    config, root, prepared, run = project
    folder = evaluate(several(config, 1), root, prepared, run, Hooks())
    assert "worst_at_k" not in read(folder / "scores.json")
    before = (folder / "predictions.jsonl").read_text()
    assert evaluate(several(config, 3), root, prepared, run, Hooks()) == folder
    after = (folder / "predictions.jsonl").read_text()
    assert after.startswith(before) and len(said(folder)) == 6 * 2 * (1 + 3)
    three = read(folder / "scores.json")

    monkeypatch.setattr("kit.models.loading.load_model", None)  # no model is needed
    assert evaluate(several(config, 2), root, prepared, run, Hooks()) == folder
    assert read(folder / "scores.json")["worst_at_k"]["answers"] == 2
    assert evaluate(several(config, 3), root, prepared, run, Hooks()) == folder
    assert read(folder / "scores.json") == three
    assert (folder / "predictions.jsonl").read_text() == after


@pytest.mark.slow
def test_vllm_draws_each_with_a_seed_of_its_own(project, monkeypatch):
    config, root, prepared, run = project
    vllm_stand_in.install(monkeypatch)
    settings = several(config, engine="vllm").model_copy(update={"hardware": Hardware(device="auto")})
    answer(settings, run, load_prompts(prepared / "test")[:6], root / "e", root=root)
    whole = said(root / "e")
    assert len(drawn(whole)) == 6 * 2 * SAMPLES
    seeds = [[params.seed for params in asked] for asked, _ in LLM.made[0].calls]
    assert [len(set(of_call)) for of_call in seeds] == [6, 6 * SAMPLES]
    path = root / "e" / "predictions.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[::2]))
    answer(settings, run, load_prompts(prepared / "test")[:6], root / "e", root=root)
    assert said(root / "e") == whole


def test_an_endpoint_is_asked_so_often_with_a_seed_for_each(tmp_path):
    warm, path = {"temperature": 0.7}, tmp_path / "served.jsonl"
    with endpoint(lambda content, number: Says(f"Answer {number}.")) as stub:
        address = served(stub.base_url, request=warm)
        assert answer_by_endpoint(address, PROMPTS, path, 2, seed=5) == 0
        assert answer_by_endpoint(address, PROMPTS, path, 3, seed=5) == 0
        assert len(stub.asked) == 18, "what was answered is not asked again"
        seeds = [body["seed"] for body in stub.asked]
        assert len(set(seeds)) == 18 and max(seeds) < 2**31

        again = tmp_path / "again.jsonl"
        answer_by_endpoint(
            served(stub.base_url, request=warm, num_concurrent=1), PROMPTS[::-1], again, 3, seed=5
        )
        assert set(seeds) == {body["seed"] for body in stub.asked[18:]}, "whatever is asked when"
        answer_by_endpoint(
            served(stub.base_url, request=warm | {"seed": None}), PROMPTS, tmp_path / "none.jsonl", 2
        )
        assert all("seed" not in body for body in stub.asked[36:])
        with pytest.raises(DataError, match="was begun with another seed"):
            answer_by_endpoint(address, PROMPTS, path, 3, seed=6)
    found = read_given(path)
    assert found.answers == 3 and {len(row.drawn) for row in found.rows.values()} == {3}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert Counter(line["sample"] for line in lines) == {0: 6, 1: 6, 2: 6}


ALIKE = {
    "--answers: more than one with temperature 0": {"temperature": 0},
    "--request: sets one `seed` for all": {"temperature": 1, "seed": 7},
}


@pytest.mark.parametrize("told", ALIKE)
def test_answers_that_would_be_alike_are_refused_before_one_is_asked(tmp_path, told):
    with endpoint(lambda *_: Says("x")) as stub:
        with pytest.raises(ConfigError) as refused:
            answer_by_endpoint(served(stub.base_url, request=ALIKE[told]), PROMPTS, tmp_path / "a.jsonl", 2)
        assert told in str(refused.value) and not stub.asked
    assert not list(tmp_path.iterdir())
