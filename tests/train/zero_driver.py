"""One of several processes that train under ZeRO. Arguments: a JSON file of runs, a folder.

As `process_driver`, and of a run with `again` a copy is cut off after that step and resumed beside it, as
`<name>-again`; of one with `breaks` the gradient becomes no number at that step, and what came of it is told
in `<folder>/<name>.json`.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from process_driver import make_ready


def cut_off(run: Path, copy: Path, step: int) -> Path:
    """A copy of a run as it was when it was killed after the checkpoint of that step."""
    shutil.copytree(run, copy)
    for checkpoint in copy.glob("checkpoints/checkpoint-*"):
        if int(checkpoint.name.rsplit("-", 1)[1]) > step:
            shutil.rmtree(checkpoint)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "status": "interrupted"}))
    return copy


def break_gradient(step: int, passes: int) -> list[Any]:
    """Make every gradient NaN from that step on; the model that is trained, once it is loaded, and its weights
    then."""
    import torch

    import kit.train.setup

    load, made = kit.train.setup.load_for_training, []

    def load_breaking(*args: Any) -> Any:
        model = load(*args)
        made[:] = [model, {name: weight.clone() for name, weight in model.state_dict().items()}]
        calls = []

        def broken(gradient: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return gradient * float("nan") if len(calls) > (step - 1) * passes else gradient

        model.get_input_embeddings().weight.register_hook(broken)
        return model

    kit.train.setup.load_for_training = load_breaking
    return made


def main() -> None:
    import torch

    from kit.config.errors import CasekitError
    from kit.config.schema import Config
    from kit.train.processes import is_main, same_for_all
    from kit.train.stages import train

    runs, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    make_ready(runs)
    for run in runs:
        config, place, prepared = Config.model_validate(run["config"]), folder / run["name"], Path(run["prepared"])
        if "breaks" in run:
            made = break_gradient(run["breaks"], passes=2)
            try:
                train(config, place, prepared, None)
            except CasekitError as error:
                now = made[0].state_dict()
                same = all(torch.equal(now[name], weight) for name, weight in made[1].items())
                if is_main():
                    (folder / f"{run['name']}.json").write_text(json.dumps({"said": str(error), "same": same}))
            continue
        done = train(config, place, prepared, None)
        if "again" in run:
            beside = folder / f"{run['name']}-again" / "runs" / done.name
            train(config, beside.parents[1], prepared, None, same_for_all(lambda: cut_off(done, beside, run["again"])))


if __name__ == "__main__":
    main()
