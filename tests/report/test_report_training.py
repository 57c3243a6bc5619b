"""What watching a run has shown: spikes, plateaus, early stop, and the curves with their tables."""

import json
import math
import random
import re
from typing import Any

import pytest
from report_samples import Sample, curve, manifest, save

from kit.config.schema import Config
from kit.report.build import write_report
from kit.report.training import method_label
from kit.train.curve import FLUCTUATION_LIMIT, find_plateau, find_rises, find_spikes, fluctuation


def falling(steps: int = 100, floor: float = 0.0) -> list[tuple[float, float]]:
    return [(float(step), max(4 * math.exp(-step / 40), floor)) for step in range(1, steps + 1)]


def test_a_spike_is_a_rise_over_the_mean_of_the_five_before() -> None:
    losses = falling()
    assert find_spikes(losses) == []
    losses[50] = (51.0, losses[50][1] + 1.0)
    before = sum(loss for _, loss in losses[45:50]) / 5
    assert find_spikes(losses) == [(51.0, pytest.approx(losses[50][1] - before))]


@pytest.mark.parametrize("seed", range(5))
def test_the_greatest_rise_is_the_watchs_fluctuation(seed: int) -> None:
    dice = random.Random(seed)
    losses = [(step, loss + dice.uniform(-0.4, 0.4)) for step, loss in falling()]
    rises = find_rises(losses)
    assert max(rise for _, rise in rises) == pytest.approx(fluctuation([loss for _, loss in losses]))
    assert min(rise for _, rise in rises) > FLUCTUATION_LIMIT


def test_a_plateau_is_where_the_loss_stands_still_for_a_fifth_of_the_run() -> None:
    assert find_plateau(falling()) is None
    flat = find_plateau(falling(floor=1.0))
    assert flat is not None and 50 <= flat <= 65, "4·exp(-step/40) reaches 1 at step 55"
    assert find_plateau(falling(steps=60, floor=1.0)) is None, "five steps of sixty are no plateau"
    assert find_plateau(falling(steps=19, floor=3.9)) is None, "too few to tell"
    rises = [*falling(50), *((float(step), 1.2 + step / 100) for step in range(51, 101))]
    assert find_plateau(rises) is not None, "a loss that only rises falls no further either"


def write(sample: Sample, lines: list[dict[str, object]], **changes: object) -> str:
    (sample.run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    save(sample.run / "manifest.json", {**manifest(sample.run.name), **changes})
    return (write_report(*sample.arguments).folder / "report.html").read_text("utf-8")


def test_spikes_stand_in_words_on_the_curve_and_in_its_table(sample: Sample) -> None:
    calm = write(sample, curve())
    assert 'class="spike"' not in calm and 'class="key-spike"' not in calm

    lines = curve()
    trained = [line for line in lines if line["kind"] == "train"]
    trained[20] |= {"loss": 3.0, "grad_norm": None}
    page = write(sample, lines)

    assert "at 1 of 30 logged steps; most at step 105, by " in page
    assert page.count('class="spike"') == 2, "one in each of the two drawings"
    assert re.search(r'data-label="Step" class="number">105</td>.*spike, \+', page)
    assert "The gradient was not finite at 1 logged step." in page


def test_what_was_told_while_the_run_was_on_is_there_with_what_to_do(sample: Sample) -> None:
    lines = curve()
    told = {"epoch": 1.0, "kind": "event", "value": 1.0, "advice": "look at the rows <b>"}
    lines.insert(0, {**told, "step": 0, "event": "memory_ran_out", "message": "memory ran out"})
    lines.append({**told, "step": 105, "event": "spike", "message": "the loss jumped to 3 from about 0.4"})
    lines.append({**told, "step": 110, "event": "plateau", "message": "the loss has stood still"})
    asked = {"rows": 8, "tokens": None, "eval_rows": 16}
    page = write(
        sample,
        lines,
        batch={
            "rows": 4,
            "accumulation": 8,
            "eval_rows": 16,
            "tokens": None,
            "since_step": 0,
            "asked": asked,
        },
        memory_peak={"gib": 17.25, "share": 0.719},
        fp16_overflows=3,
        mfu=0.312,
    )
    assert "Step 105: the loss jumped to 3 from about 0.4. To do: look at the rows &lt;b&gt;." in page
    assert "Before the first step: memory ran out." in page
    assert "the loss has stood still" not in page, "the report says it from the curve"
    assert "71.9% at most, 17.2 GiB; alarm at 80%" in page and "4 of 8 asked for" in page
    assert "Steps left out by float16 overflow" in page and "31.2% of the device" in page


def test_a_score_that_stood_still_and_an_early_stop_are_told_once(sample: Sample) -> None:
    assert "The task score stood still after step 120: 1 later validation brought no better one." in write(
        sample, curve()
    )
    page = write(sample, curve(), stopped_early=True)
    assert "Training stopped early" in page and "stood still" not in page


def test_a_long_run_is_thinned_and_says_so(sample: Sample) -> None:
    lines: list[dict[str, object]] = [
        {"step": int(step), "epoch": 1.0, "kind": "train", "loss": loss} for step, loss in falling(20_000)
    ]
    page = write(sample, lines)
    assert "41 of 20,000 logged steps" in page
    assert len(page) < 500_000


def test_every_stage_of_a_chain_has_its_facts_and_curves_in_their_order(sample: Sample) -> None:
    first = sample.run.with_name("20260101-000000-sft-lora")
    first.mkdir()
    chain = {"stages": ["sft", "dpo"]}
    save(first / "manifest.json", {**manifest(first.name), "stage": "sft", "chain": {**chain, "number": 1}})
    early = [
        {**line, "loss": 77.5} if line.get("loss") == curve()[0].get("loss") else line for line in curve()
    ]
    (first / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in early), "utf-8")
    settings = "train: {learning_rate: 0.000123}\n"
    (first / "config.yaml").write_text(settings, "utf-8")
    continues = {"continues": {"run": first.name, "sha256": "0" * 64}}
    page = write(sample, curve(), stage="dpo", chain={**chain, "number": 2}, **continues)
    section = page[page.index('<section id="training"') :].partition("</section>")[0]
    one, two = section.index("<h3>Stage 1 of 2: sft</h3>"), section.index("<h3>Stage 2 of 2: dpo</h3>")
    assert one < section.index("0.000123") < two and one < section.index("77.5") < two
    assert section.count('<svg class="plot"') == 2 * (section[two:].count('<svg class="plot"'))
    assert "Goes on from" in section[two:] and first.name in section[two:]
    folder = next(sample.root.glob("reports/*"))
    for face in ("report.md", "MODEL_CARD.md"):
        text = (folder / face).read_text("utf-8")
        assert text.index("Stage 1 of 2: sft") < text.index("Stage 2 of 2: dpo"), face
    inputs = json.loads((folder / "report.json").read_text("utf-8"))["inputs"]
    assert f"runs/{first.name}/metrics.jsonl" in inputs

    for path in first.iterdir():
        path.unlink()
    first.rmdir()  # somebody made room: the report stands without it
    page = write(sample, curve(), stage="dpo", chain={**chain, "number": 2}, **continues)
    assert "Stage 1 of 2" not in page and "Stage 2 of 2: dpo" in page and first.name in page


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ({"name": "full"}, "full fine-tuning"),
        ({"name": "freeze", "num_trainable_layers": 3}, "last layers, 3 trained"),
        ({"name": "lora", "rank": 4}, "LoRA, rank 4"),
        ({"name": "qlora", "use_dora": True}, "QDoRA, rank 8"),
        ({"name": "prefix"}, "prefix tuning, 20 virtual tokens"),
        ({"name": "ia3"}, "(IA)³"),
        ({"name": "adapter", "bottleneck_size": 16}, "bottleneck adapters, size 16"),
        ({"name": "oft"}, "OFT, blocks of 32"),
    ],
)
def test_a_method_is_named_as_people_write_it(method: dict[str, Any], said: str) -> None:
    assert method_label(method["name"], Config.model_validate({"method": method})) == said
