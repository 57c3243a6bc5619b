"""Keeps the libraries' own bars and advice off the terminal, so that it shows only ours."""

import logging
import warnings


def quiet_libraries() -> None:
    """Silence the progress bars and warnings of transformers, datasets, peft, bitsandbytes and DeepSpeed.

    Downloads keep their bar: those are long, and only their library knows how long.
    """
    for name in ("bitsandbytes", "peft", "trl", "accelerate"):  # some complain while they are imported
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("DeepSpeed").addFilter(is_error)  # it sets its level itself, and writes to stdout
    import datasets
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.utils.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", module=r"(transformers|trl|peft|bitsandbytes|accelerate|torch)\b.*")


def is_error(record: logging.LogRecord) -> bool:
    """Whether a line of a log says that something failed."""
    return record.levelno >= logging.ERROR
