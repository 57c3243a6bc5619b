"""What every part of the configuration has in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values are not changed after loading.

    Strict: `"8"` is no number, `yes` and 1 are not true. A whole number is a number as well.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


def name_only(value: Any) -> Any:
    """A bare name as the section that it is short for: `{name: …}`."""
    return {"name": value} if isinstance(value, str) else value
