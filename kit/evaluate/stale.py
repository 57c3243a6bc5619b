"""Whether an evaluation is of the settings as they are now; a report of another cannot be verified."""

import json
from pathlib import Path

from kit.config.schema import Config
from kit.evaluate.evaluate import scoring_hash, shaping_settings
from kit.hooks import Hooks


def made_otherwise(evaluation: Path, config: Config, root: Path, hooks: Hooks) -> list[str]:
    """What the settings say otherwise than when the evaluation was made, a sentence each; or nothing."""
    record = json.loads((evaluation / "evaluation.json").read_text(encoding="utf-8"))
    then, now = record["generation"]["evaluate"], shaping_settings(config)
    changed = [
        f"evaluate.{key} is {now[key]}, and the answers of {evaluation.name} were made with {then[key]}"
        for key in then
        if now.get(key) != then[key]
    ]
    drawn, wanted = record.get("answers", 1), config.evaluate.sampling.answers
    if drawn != wanted:
        said = f"evaluate.sampling.answers is {wanted}, and {drawn} {'was' if drawn == 1 else 'were'} drawn"
        changed.append(f"{said} to each prompt of {evaluation.name}")
    if not changed and record["scoring"] != scoring_hash(config, root, hooks):
        changed = [
            f"the metrics, or a file that they read, are not those that {evaluation.name} was scored with"
        ]
    return changed
