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
from dev.markdown import table

PACKAGE = Path(provider.__file__).parent
Definition = ast.ClassDef | ast.FunctionDef

_KINDS = {
    "Task groups": r"TaskGroup$",
    "What they are given": r"^Approval$",
    "Operators": r"Operator$",
    "Sensor": r"Sensor$",
    "Notifier": r"Notifier$",
    "Callbacks, schedules, assets": r"^[a-z]",
    "Hook": r"Hook$",
}


def page() -> str:
    """The generated part as Markdown."""
    parts = []
    for title, pattern in _KINDS.items():
        parts.append(f"\n## {title}\n")
        parts += [_section(_definitions()[name]) for name in provider.__all__ if re.search(pattern, name)]
    return "".join(parts) + _options() + _connection()


@cache
def _definitions() -> dict[str, Definition]:
    """Every class and function at the top of a module of the provider's root."""
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in sorted(PACKAGE.glob("*.py"))]
    return {node.name: node for tree in trees for node in tree.body if isinstance(node, Definition)}


def _section(node: Definition) -> str:
    parameters: dict[str, tuple[str, str, str, str]] = {}
    for argument, default in _arguments(node):
        kind = ast.unparse(argument.annotation) if argument.annotation else ""
        value = f"`{ast.unparse(default)}`" if default else "required"
        parameters.setdefault(argument.arg, (f"`{argument.arg}`", f"`{kind}`", value, _meaning(node, argument.arg)))
    parameters.pop("context", None)  # Airflow gives it, nobody else
    listed = table("parameter|type|default|meaning", parameters.values())
    methods = table("method|does", _methods(node)) if node.name.endswith("Hook") else ""
    return f"\n### `{node.name}`\n\n{_prose(node)}\n{listed}{methods}"


def _lineage(node: Definition) -> Iterator[Definition]:
    """The class and its ancestors in this package, nearest first; of a function itself alone."""
    yield node
    for base in node.bases if isinstance(node, ast.ClassDef) else ():
        known = _definitions().get(ast.unparse(base))
        if known is not None:
            yield from _lineage(known)


def _arguments(node: Definition) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """What a caller may give, with defaults; None: required."""
    for part in _lineage(node):
        for function in [part] if isinstance(part, ast.FunctionDef) else _functions(part, r"__init__$"):
            given = function.args
            positional = [argument for argument in given.args if argument.arg != "self"]
            required = [None] * (len(positional) - len(given.defaults))
            yield from zip(positional, [*required, *given.defaults], strict=True)
            yield from zip(given.kwonlyargs, given.kw_defaults, strict=True)
        if isinstance(part, ast.ClassDef) and part.decorator_list:  # a dataclass
            for field in part.body:
                if isinstance(field, ast.AnnAssign):
                    yield ast.arg(ast.unparse(field.target), field.annotation), field.value


def _functions(node: Definition, pattern: str) -> list[ast.FunctionDef]:
    return [part for part in node.body if isinstance(part, ast.FunctionDef) and re.match(pattern, part.name)]


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


def _methods(node: Definition) -> Iterator[tuple[str, str]]:
    for part in _functions(node, "(?!_)"):
        signature = ast.unparse(part.args).removeprefix("self").removeprefix(", ")
        yield f"`{part.name}({signature})`", " ".join((ast.get_docstring(part) or "").partition("\n\n")[0].split())


def _options() -> str:
    """The provider's section of Airflow's configuration."""
    ((section, told),) = get_provider_info()["config"].items()
    rows = [
        (f"`{name}`", option["type"], repr(option["default"]) if option["default"] else "empty", option["description"])
        for name, option in told["options"].items()
    ]
    listed = table("option|type|default|meaning", rows)
    return f"\n## Airflow's configuration, section `[{section}]`\n\n{told['description']}.\n{listed}"


def _connection() -> str:
    """The connection types and the fields of the form."""
    (kind,) = get_provider_info()["connection-types"]
    fields = [(f"`{name}`", field["description"]) for name, field in kind["conn-fields"].items()]
    return (
        f"\n## The connection\n\nOf type `{kind['connection-type']}` ({kind['hook-name']}) or `postgres`. Besides host,"
        " port, database, user\nand password, `extra` may hold any parameter of libpq; the form has fields for:\n"
        f"{table('field|meaning', fields)}"
    )
