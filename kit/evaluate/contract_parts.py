"""What the types of `scores.json` and `report.json` share."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

closed = with_config(ConfigDict(extra="forbid", use_attribute_docstrings=True))
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Decoding = Literal["greedy", "sampled"]
Outcome = Literal["improved", "worse", "not shown"]


@closed
class Estimate(TypedDict):
    """A figure with its interval; all null where no prompt was scored."""

    estimate: float | None
    """Shares are from 0 to 1, times in seconds."""
    low: float | None
    high: float | None
    method: str
    """How the interval was made."""
