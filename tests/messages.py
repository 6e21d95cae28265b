"""Collect from the code every message that it has for a person, each placeholder written as …."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[1] / "honua_schema"
REPORTERS = {"refuse_usage", "complain"}
"""Functions of the command line that print the message they are given."""

RAISE = re.compile(r"RAISE EXCEPTION '((?:[^']|'')*)'")
PLACEHOLDER = "…"


def messages_of_python(source: str, errors: set[str]) -> set[str]:
    """Return the messages in a module.

    Args:
        source: Its text.
        errors: Names of the exceptions whose first argument is a message.
    """
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    found = set()
    for scope in (*functions, tree):
        calls = [
            node
            for node in ast.walk(scope)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args
            if node.func.id in errors | REPORTERS
        ]
        for call in calls:
            message = call.args[0]
            if isinstance(message, ast.Name):
                message = _assigned(scope, message) or message
            found.add(text_of(message))
    return {_as_on_page(text) for text in found if re.search(r"\w", text)}


def messages_of_sql(source: str) -> set[str]:
    """Return the messages that the SQL of a file raises.

    Args:
        source: Its text.
    """
    return {
        _as_on_page(text.replace("''", "'").replace("%", PLACEHOLDER).replace(PLACEHOLDER * 2, "%"))
        for text in RAISE.findall(source)
    }


def text_of(node: ast.expr) -> str:
    """Return a string expression as text; what is not known before it runs is a placeholder."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(text_of(value) for value in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return text_of(left) + text_of(right)
    return PLACEHOLDER


def _assigned(scope: ast.AST, name: ast.Name) -> ast.expr | None:
    """Return what a variable was last given before it is used."""
    values = [
        (node.lineno, node.value)
        for node in ast.walk(scope)
        if isinstance(node, ast.Assign) and node.lineno < name.lineno
        if any(isinstance(target, ast.Name) and target.id == name.id for target in node.targets)
    ]
    return max(values, key=lambda each: each[0])[1] if values else None


def _as_on_page(text: str) -> str:
    """Return a message on one line, adjacent placeholders as one."""
    return re.sub(f"{PLACEHOLDER}(?:\\s*{PLACEHOLDER})+", PLACEHOLDER, " ".join(text.split()))


def error_classes() -> set[str]:
    """Return the names of SchemaError and the exceptions that derive from it."""
    names = {"SchemaError"}
    classes = [
        node
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    while (
        more := {each.name for each in classes if names & {ast.unparse(base) for base in each.bases}} - names
    ):
        names |= more
    return names


def collect() -> Iterator[tuple[Path, str]]:
    """Yield every message, with the file that has it."""
    errors = error_classes()
    for path in sorted(PACKAGE.rglob("*.py")):
        if "versions" not in path.parts:
            for message in messages_of_python(path.read_text(encoding="utf-8"), errors):
                yield path, message
    for path in sorted((PACKAGE / "sql").rglob("*.sql")):
        for message in messages_of_sql(path.read_text(encoding="utf-8")):
            yield path, message
