"""Modules and functions stay short; a longer one has a reason that a reader accepts at once."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.tree import PROJECT, product_modules

MODULE_MAX_LINES = 400
FUNCTION_MAX_LINES = 50

LONG_MODULES: dict[str, str] = {}
LONG_FUNCTIONS = {
    "embedded/postgres.py:recipe": "how one server is run, an argument a line",
}


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield f"{path.relative_to(PROJECT)}:{node.name}", node.end_lineno - node.lineno + 1


def test_modules() -> None:
    lengths = {
        str(path.relative_to(PROJECT)): path.read_text(encoding="utf-8").count("\n") for path in product_modules()
    }
    assert {name: length for name, length in lengths.items() if length > MODULE_MAX_LINES}.keys() == LONG_MODULES.keys()


def test_functions() -> None:
    lengths = {name: length for path in product_modules() for name, length in functions(path)}
    assert {
        name: length for name, length in lengths.items() if length > FUNCTION_MAX_LINES
    }.keys() == LONG_FUNCTIONS.keys()
