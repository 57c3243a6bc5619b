"""Keeps the libraries' own bars and advice off the terminal, so that it shows only ours."""

import logging
import warnings


def quiet_libraries() -> None:
    """Silence the progress bars and warnings of transformers, datasets, peft and bitsandbytes.

    Downloads keep their bar: those are long, and only their library knows how long.
    """
    for name in ("bitsandbytes", "peft", "trl", "accelerate"):  # some complain while they are imported
        logging.getLogger(name).setLevel(logging.ERROR)
    import datasets
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.utils.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", module=r"(transformers|trl|peft|bitsandbytes|accelerate|torch)\b.*")
