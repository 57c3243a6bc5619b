"""No module imports another one that imports it, not even for its types or within a function."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

KIT = Path(__file__).parents[1] / "kit"
FILES = {".".join(path.relative_to(KIT.parent).with_suffix("").parts): path for path in KIT.rglob("*.py")}
MODULES = {name.removesuffix(".__init__"): path for name, path in FILES.items()}


def imported(name: str) -> set[str]:
    """The kit's modules that one imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = {f"{node.module}.{part.name}" for part in node.names}
            found |= parts & MODULES.keys() or {node.module}
        elif isinstance(node, ast.Import):
            found |= {part.name for part in node.names}
    return found & MODULES.keys() - {name}


def test_modules_import_in_no_circle():
    graph = {name: imported(name) for name in MODULES}
    assert sum(map(len, graph.values())) > 1000
    assert list(TopologicalSorter(graph).static_order())  # a circle is a CycleError that names its modules
