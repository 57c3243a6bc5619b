"""Where a report's inputs lie."""

from dataclasses import dataclass
from pathlib import Path

from kit.config.gates import Gate
from kit.config.schema import Config


@dataclass(frozen=True)
class Sources:
    """Where a report's inputs lie, and the settings it is made by."""

    config: Config
    root: Path
    evaluation: Path
    run: Path
    prepared: Path
    recipe_gates: tuple[Gate, ...] = ()
    report: Path | None = None
    """The report's own folder, where it lies elsewhere than it is written."""

    @property
    def folder(self) -> Path:
        """The report's own folder: `reports/<evaluation id>/` if it was not moved."""
        return self.report or self.root / "reports" / self.evaluation.name
