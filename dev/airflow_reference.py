"""docs/reference/airflow.md: the public names of the provider, from their signatures and docstrings.

Read from the source, not from imported modules: no Airflow has to be set up to write a page about it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import airflow_provider_wmigrate as provider
from airflow_provider_wmigrate.provider import get_provider_info

PACKAGE = Path(provider.__file__).parent
Definition = ast.ClassDef | ast.FunctionDef

_KINDS = (
    ("Task groups", r"TaskGroup$"),
    ("Operators", r"Operator$"),
    ("Sensor", r"Sensor$"),
    ("Notifier", r"Notifier$"),
    ("Callbacks, schedules, assets", r"^[a-z]"),
    ("Hook", r"Hook$"),
)

_HEAD = """# Operators, task groups, sensor, notifier, hook

What `airflow_provider_wmigrate` exports; how it is used is told in [In Airflow](../airflow.md). Arguments that are not
listed go to Airflow's own class (`task_id`, `retries`, `pool`, `queue` ...).

This page is generated from the code: `python -m dev.references`.
"""


def page() -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    for title, pattern in _KINDS:
        parts.append(f"\n## {title}\n")
        parts += [_section(name) for name in provider.__all__ if re.search(pattern, name)]
    return "".join(parts) + _options() + _connection()


@cache
def _definitions() -> dict[str, Definition]:
    """Every class and function at the top of a module of the provider's root."""
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in sorted(PACKAGE.glob("*.py"))]
    return {
        node.name: node for tree in trees for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))
    }


def _section(name: str) -> str:
    node = _definitions()[name]
    parts = [f"\n### `{name}`\n\n{_prose(node)}\n"]
    rows = "".join(_row(argument, default, _meaning(node, argument.arg)) for argument, default in _arguments(node))
    if rows:
        parts.append(f"\n| parameter | type | default | meaning |\n| --- | --- | --- | --- |\n{rows}")
    if name.endswith("Hook") and isinstance(node, ast.ClassDef):
        parts.append("\n| method | does |\n| --- | --- |\n" + "".join(_methods(node)))
    return "".join(parts)


def _lineage(node: Definition) -> Iterator[Definition]:
    """The class and its ancestors in this package, nearest first; of a function itself alone."""
    yield node
    for base in node.bases if isinstance(node, ast.ClassDef) else ():
        known = _definitions().get(ast.unparse(base))
        if known is not None:
            yield from _lineage(known)


def _arguments(node: Definition) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """What a caller may give, with defaults; None: required."""
    told: set[str] = set()
    for part in _lineage(node):
        function = part if isinstance(part, ast.FunctionDef) else _method(part, "__init__")
        for argument, default in _signature(function) if function else ():
            if argument.arg not in (*told, "context"):  # Airflow gives it, nobody else
                told.add(argument.arg)
                yield argument, default


def _method(node: Definition, name: str) -> ast.FunctionDef | None:
    return next((part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == name), None)


def _signature(function: ast.FunctionDef) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    given = function.args
    positional = [argument for argument in given.args if argument.arg != "self"]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults))
    yield from zip(positional, [*missing, *given.defaults], strict=True)
    yield from zip(given.kwonlyargs, given.kw_defaults, strict=True)


def _row(argument: ast.arg, default: ast.expr | None, meaning: str) -> str:
    kind = ast.unparse(argument.annotation) if argument.annotation else ""
    value = "required" if default is None else f"`{ast.unparse(default)}`"
    return f"| `{argument.arg}` | `{_cell(kind)}` | {_cell(value)} | {_cell(meaning)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _prose(node: Definition) -> str:
    """The docstring before its parameters; its code blocks as Markdown knows them."""
    text = (ast.get_docstring(node) or "").partition("\n:param ")[0].strip()
    blocks = re.split(r"\.\. code-block:: python\n\n((?: {4}.*\n|\n)+)", text + "\n")
    for at in range(1, len(blocks), 2):
        blocks[at] = "```python\n" + re.sub(r"^ {4}", "", blocks[at], flags=re.MULTILINE).strip("\n") + "\n```\n\n"
    return "".join(blocks).strip()


def _meaning(node: Definition, name: str) -> str:
    """From the docstring of the class, of an ancestor, or of the class that it names for its other parameters."""
    for part in _lineage(node):
        text = ast.get_docstring(part) or ""
        found = re.search(rf"^:param {name}: (.*(?:\n +.*)*)", text, re.MULTILINE)
        if found:
            return " ".join(found[1].split())
        other = re.search(r"other parameters are those of `(\w+)`", text)
        if other:
            return _meaning(_definitions()[other[1]], name)
    return ""


def _methods(node: ast.ClassDef) -> Iterator[str]:
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
            signature = ast.unparse(part.args).removeprefix("self").removeprefix(", ")
            first = (ast.get_docstring(part) or "").partition("\n\n")[0]
            yield f"| `{part.name}({_cell(signature)})` | {_cell(' '.join(first.split()))} |\n"


def _options() -> str:
    """The provider's section of Airflow's configuration."""
    (section,) = get_provider_info()["config"].items()
    rows = [
        f"| `{name}` | {option['type']} | {repr(option['default']) if option['default'] else 'empty'} |"
        f" {option['description']} |\n"
        for name, option in section[1]["options"].items()
    ]
    head = f"\n## Airflow's configuration, section `[{section[0]}]`\n\n{section[1]['description']}.\n"
    return head + "\n| option | type | default | meaning |\n| --- | --- | --- | --- |\n" + "".join(rows)


def _connection() -> str:
    """The connection types and the fields of the form."""
    (kind,) = get_provider_info()["connection-types"]
    rows = [f"| `{name}` | {field['description']} |\n" for name, field in kind["conn-fields"].items()]
    text = (
        f"Of type `{kind['connection-type']}` ({kind['hook-name']}) or `postgres`. Besides host, port, database, user\n"
        "and password, `extra` may hold any parameter of libpq; the form has fields for:\n"
    )
    return f"\n## The connection\n\n{text}\n| field | meaning |\n| --- | --- |\n" + "".join(rows)
