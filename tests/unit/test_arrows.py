"""Imports point one way (HOUSE): config <- search <- agents <- conversations, and agents <- entities."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KNOWS = {
    "config": set(),
    "search": {"config"},
    "agents": {"config", "search"},
    "entities": {"config", "search", "agents"},
    "conversations": {"config", "search", "agents"},
}
# settings.py and urls.py compose the rooms by name; they may mention them, nobody imports through them.
COMPOSERS = {"config/urls.py"}


def imported_rooms(source: str) -> set[tuple[int, str]]:
    """Every room a file imports, at whatever depth: an arrow hidden in a function is still an arrow."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name | ast.Attribute)
            and (node.func.id if isinstance(node.func, ast.Name) else node.func.attr) in {"import_module", "__import__"}
        ):
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        else:
            continue
        found |= {(node.lineno, name.split(".")[0]) for name in names if name.split(".")[0] in KNOWS}
    return found


@pytest.mark.parametrize("room", KNOWS)
def test_a_room_imports_only_the_rooms_it_may_know(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {other}"
        for path in sorted((ROOT / room).rglob("*.py"))
        if str(path.relative_to(ROOT)) not in COMPOSERS
        for line, other in imported_rooms(path.read_text())
        if other != room and other not in KNOWS[room]
    ]
    assert not wrong


def test_the_watchman_sees_every_way_to_import() -> None:
    source = (
        "import agents.x\nfrom search import y\n"
        "def f():\n    from conversations.log import z\n"
        "import_module('entities.base')\n"
    )
    assert {name for _line, name in imported_rooms(source)} == {"agents", "search", "conversations", "entities"}
