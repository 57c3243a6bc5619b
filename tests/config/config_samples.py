"""A recipe as small as a test needs it."""

RECIPE = """\
recipe: {name: finance, languages: [en, fr]}
model: tiny
method: lora
data:
  slices: [topic]
train:
  learning_rate: 3e-5
evaluate:
  metrics: [violation_rate]
tiers:
  tiny:
    title: This laptop
    licence: none
    settings:
      train: {learning_rate: 2e-3, global_batch_size: 16}
      model: {max_length: 256}
  startup:
    title: One GPU
    licence: Apache-2.0
    settings:
      model: Qwen/Qwen3-8B
"""
