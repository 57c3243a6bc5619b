"""How fast answers are made, beside what a team would use otherwise, on the same model and prompts.

    python bench/evaluate.py [--prompts 256] [--model tiny] [--recipe ecommerce]
    python bench/evaluate.py --device cuda --prompts 64 --turns 1     # on a GPU

Five ways in one process, in turns, greedy, at most 160 new tokens: the kit (`kit.evaluate.generate`: the next
prompt takes the place of an answer that is complete) with 32 and with 64 places, `model.generate` one by one,
transformers' `pipeline` with batches of 32 in the order in which the prompts come, and
lm-evaluation-harness's `generate_until` with batches of 32 (where `casekit[harness]` is installed). Each is
warmed up with four prompts, and the fastest of `--turns` counts. Time is that of the processor, on one
thread; on a GPU it is the wall's, with all kernels done. Other work on the machine slows it all the same, by
taking caches; so beside the ratio stands how far those of the single turns reach. The last column says how
many answers are the kit's to the letter: who stops elsewhere or decodes otherwise does other work.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Python looks for modules beside a script first, and would take this file for the library `evaluate`.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

# ruff: noqa: E402
import torch
from transformers import pipeline

from kit.config.schema import Config, Sampling
from kit.data.grammar_load import load_grammar
from kit.data.synth import synthesize
from kit.evaluate.generate import generate, generation_config
from kit.evaluate.prompts import Prompt
from kit.models.loading import load_base, load_tokenizer

ROOT = Path(__file__).parents[1]
MOST = 160
BATCH = 32
Way = Callable[[Sequence[Prompt]], list[str]]


def prompts_of(recipe: str, count: int) -> list[Prompt]:
    """Dialogues of a recipe's grammar up to their last answer."""
    rows = synthesize(load_grammar(ROOT / "recipes" / recipe / "dialogues.yaml"), count, 7)
    return [
        Prompt(id=f"{place:05}", messages=row["messages"][:-1], expected={}, slices={}, group=str(place))
        for place, row in enumerate(rows)
    ]


def ways(model: Any, tokenizer: Any) -> dict[str, Way]:
    """Name -> what answers prompts, in their order."""
    settings = generation_config(tokenizer, MOST)

    def the_kit(places: int, prompts: Sequence[Prompt]) -> list[str]:
        answers = generate(
            model,
            tokenizer,
            prompts,
            decoding="greedy",
            max_new_tokens=MOST,
            batch_size=places,
            seed=0,
            sampling=Sampling(enabled=False),
        )
        return [answer.output for answer in answers]

    def one_by_one(prompts: Sequence[Prompt]) -> list[str]:
        answers = []
        for prompt in prompts:
            ids = torch.tensor([prompt.ids(tokenizer)], device=model.device)
            output = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings
            )
            answers.append(tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True).strip())
        return answers

    def piped(prompts: Sequence[Prompt]) -> list[str]:
        tokenizer.padding_side = "left"
        pipe = pipeline("text-generation", model=model, tokenizer=tokenizer)
        texts = [tokenizer.decode(prompt.ids(tokenizer)) for prompt in prompts]
        found = pipe(texts, batch_size=BATCH, generation_config=settings, return_full_text=False)
        return [answer[0]["generated_text"].strip() for answer in found]

    named: dict[str, Way] = {
        "the kit": partial(the_kit, BATCH),
        "the kit, twice the places": partial(the_kit, 2 * BATCH),
        "one by one": one_by_one,
        "transformers pipeline": piped,
    }
    if find_spec("lm_eval"):
        named["lm-evaluation-harness"] = _harness(model, tokenizer)
    return named


def _harness(model: Any, tokenizer: Any) -> Way:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    served = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=BATCH, device=str(model.device))
    stop = tokenizer.decode(generation_config(tokenizer, MOST).eos_token_id[:1])

    def answer(prompts: Sequence[Prompt]) -> list[str]:
        asked = {"until": [stop], "max_gen_toks": MOST, "do_sample": False}
        requests = [
            Instance("generate_until", {}, (tokenizer.decode(prompt.ids(tokenizer)), asked), place)
            for place, prompt in enumerate(prompts)
        ]
        return [text.strip() for text in served.generate_until(requests, disable_tqdm=True)]

    return answer


def now(device: str) -> float:
    """Seconds, see above."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Time every way and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--model", default="tiny", help="tiny (built before by `casekit train`) or a folder")
    parser.add_argument("--recipe", default="ecommerce")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = Config.model_validate(
        {"model": {"name": given.model, "dtype": given.dtype}, "hardware": {"device": given.device}}
    )
    model, tokenizer = load_base(config), load_tokenizer(config.model)
    prompts = prompts_of(given.recipe, given.prompts)
    named = ways(model, tokenizer)
    turns: dict[str, list[float]] = {name: [] for name in named}
    answers: dict[str, list[str]] = {}
    for turn in range(given.turns + 1):
        for name, way in named.items():
            begun = now(given.device)
            answers[name] = way(prompts if turn else prompts[:4])
            turns[name] += [now(given.device) - begun] if turn else []
    seconds = {name: min(spent) for name, spent in turns.items()}
    where = torch.cuda.get_device_name() if given.device == "cuda" else "cpu"
    print(f"{len(prompts)} prompts, {given.model} in {given.dtype} on {where}, torch {torch.__version__}\n")
    print("| way | prompts a second | the kit is so many times as fast | turn by turn | its answers |")
    print("|---|--:|--:|--:|--:|")
    for name, spent in seconds.items():
        same = sum(own == other for own, other in zip(answers["the kit"], answers[name], strict=True))
        ratio = spent / seconds["the kit"]
        each = [other / own for own, other in zip(turns["the kit"], turns[name], strict=True)]
        reach = f"{min(each):.2f} to {max(each):.2f}"
        print(f"| {name} | {len(prompts) / spent:,.1f} | {ratio:.2f} | {reach} | {same} of {len(prompts)} |")


if __name__ == "__main__":
    main()
