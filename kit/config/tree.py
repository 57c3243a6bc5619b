"""Reading the merged tree, which the schema need not have passed: what it refuses is not looked at."""

from typing import Any, TypeVar

from pydantic import ValidationError

from kit.config.section import Section

Tree = dict[str, Any]
S = TypeVar("S", bound=Section)


def mapping_at(tree: Tree, name: str) -> Tree:
    """What is written under a name; empty where that is nothing, or no mapping."""
    found = tree.get(name)
    return found if isinstance(found, dict) else {}


def section_at(tree: Tree, name: str, kind: type[S]) -> S | None:
    """What is written under a name with all its defaults; None where the schema refuses it."""
    try:
        return kind.model_validate(tree.get(name) or {})
    except ValidationError:
        return None
