"""Keeps the libraries' own bars and advice off the terminal, so that it shows only ours."""

import logging
import warnings


def quiet_imports() -> None:
    """Silence what libraries complain of while they are imported; imports none of them.

    bitsandbytes warns of a kernel that nobody asked for as soon as PEFT or TRL imports it.
    """
    for name in ("bitsandbytes", "peft", "trl", "accelerate"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("DeepSpeed").addFilter(is_error)  # it sets its level itself, and writes to stdout
    warnings.filterwarnings("ignore", module=r"(transformers|trl|peft|bitsandbytes|accelerate|torch)\b.*")


def quiet_libraries() -> None:
    """Silence the progress bars and warnings of transformers, datasets, peft, bitsandbytes and DeepSpeed.

    Downloads keep their bar: those are long, and only their library knows how long.
    """
    quiet_imports()
    import datasets
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.utils.logging.set_verbosity_error()
    datasets.disable_progress_bars()


def is_error(record: logging.LogRecord) -> bool:
    """Whether a line of a log says that something failed."""
    return record.levelno >= logging.ERROR
