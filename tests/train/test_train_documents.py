"""Pretraining on plain text, from a folder of files to a checkpoint."""

import json
from pathlib import Path

import pytest
from train_world import losses_of

from kit import pipeline
from kit.config import load_config
from kit.config.errors import DataError
from kit.data.prepared import load_split
from kit.terminal_rows import Look

pytestmark = pytest.mark.slow

PROJECT = """
model: {{name: {base}, max_length: 64}}
method: full
data:
  sources: [{{path: raw}}]
train:
  stage: pretrain
  learning_rate: 3e-3
  global_batch_size: 8
  num_train_epochs: 2
  logging_steps: 2
  eval_steps: 5
  save_steps: 5
hardware: {{num_threads: 1}}
tracking: {{report_to: []}}
"""


def test_a_folder_of_text_is_prepared_and_trained_on(base: Path, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/project.yaml").write_text(PROJECT.format(base=base))
    (tmp_path / "raw").mkdir()
    for part in range(2):
        texts = [f"Order {part}-{i} is on its way.\n" + "Please wait for it. " * (i % 9) for i in range(50)]
        (tmp_path / f"raw/{part}.txt").write_text("\n\n".join(texts))
    loaded = load_config(tmp_path)
    prepared = pipeline.prepare(loaded)
    assert json.loads((prepared / "data.json").read_text())["tokens"]["max"] <= 64
    run = pipeline.train(loaded)
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["status"], manifest["stage"]) == ("finished", "pretrain")
    assert manifest["golden"]["metric"] == "minus validation loss"
    losses = losses_of(run)
    assert losses[-1] < losses[0] - 0.5
    title = pipeline.show_rows(loaded, "0", "train", None, Look(True, False)).plain.splitlines()[2]
    tokens, with_loss = (int(word) for word in title.split(": ")[1].split() if word.isdigit())
    assert tokens == with_loss
    assert load_split(prepared, "test")[0].messages[0]["role"] == "document"
    with pytest.raises(DataError, match="holds documents only"):
        pipeline.evaluate(loaded, run.name)
