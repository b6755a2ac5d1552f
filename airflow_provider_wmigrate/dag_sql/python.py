"""SQL in a Python file, found without running it: in the arguments of operators, and in functions. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from airflow_provider_wmigrate.engine.plan.blast import Source
from airflow_provider_wmigrate.engine.usage import Grade

ReadFile = Callable[[str], str | None]
"""Gives the text of a file that an operator's argument names; None: there is none."""
SureOf = Callable[[str | None], Grade | None]
"""The best grade of what uses a connection, by its id, or None where no id is written; None: it is another database."""

_SQL = re.compile(
    r"\s*(?:--|/\*|\(|\{|set|select|insert|update|delete|with|merge|copy|truncate|create|alter|drop|call|refresh|explain"
    r"|table|values|analyze|vacuum|lock|declare|do|comment|begin|grant|revoke)",
    re.IGNORECASE,
)


def looks_like_sql(text: str) -> bool:
    return _SQL.match(text) is not None and any(sign.isspace() for sign in text.strip())


_PUT_IN = "{{ _ }}"
"""What only a run knows."""


@dataclass
class _Unit:
    """A task, or a function."""

    kind: str
    name: str
    line: int
    is_operator: bool = False
    conn_id: str | None = None
    texts: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def take(self, text: str) -> None:
        (self.texts if looks_like_sql(text) else self.words).append(text)


def in_python(text: str, file: str, *, sure: SureOf, read_file: ReadFile, beside: bool = False) -> Iterator[Source]:
    """:param file: its name, for people.
    :param beside: who asks has the serialized tasks too: what these are given is known better than by a text that a
        run puts together.
    :raises SyntaxError: it is no Python of this version.
    """
    reader = _Reader(read_file)
    reader.module(ast.parse(text))
    for unit in reader.units:
        surest = sure(unit.conn_id)
        if surest is not None and (unit.texts or unit.words):
            texts, words = unit.texts, unit.words
            if beside and unit.is_operator:
                texts, words = ([text for text in each if _PUT_IN not in text] for each in (texts, words))
            name = unit.name if beside and unit.kind == "task" else f"{unit.name} ({file}:{unit.line})"
            yield Source(unit.kind, name, tuple(texts), surest, tuple(words))


class _Reader:
    def __init__(self, read_file: ReadFile) -> None:
        self.units: list[_Unit] = []
        self._read_file = read_file
        self._constants: dict[str, str] = {}

    def module(self, tree: ast.Module) -> None:
        for node in tree.body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name) and node.value is not None:
                found = self._text(node.value)
                if found is not None:
                    self._constants[target.id] = found
        for node in tree.body:
            self._visit(node, "", None)

    def _visit(self, node: ast.AST, dag: str, unit: _Unit | None) -> None:
        if isinstance(node, ast.With | ast.AsyncWith):
            dag = next((name for item in node.items if (name := _dag_id(item.context_expr))), dag)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            dag, unit = self._function(node, dag, unit)
        elif isinstance(node, ast.Call):
            unit = self._operator(node, dag, unit)
        if isinstance(node, ast.Call) and unit is not None:
            given = [keyword for keyword in node.keywords if (keyword.arg or "").endswith("conn_id")]
            unit.conn_id = next((str(k.value.value) for k in given if isinstance(k.value, ast.Constant)), unit.conn_id)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # a docstring
        if isinstance(node, ast.keyword) and (node.arg or "").endswith(("task_id", "conn_id")):
            return
        text = self._text(node) if unit is not None else None
        if text is not None and unit is not None:
            self._take(unit, text)
            return
        for inner in ast.iter_child_nodes(node):
            self._visit(inner, dag, unit)

    def _operator(self, node: ast.Call, dag: str, around: _Unit | None) -> _Unit | None:
        """`partial` inside of `expand` is the same task."""
        task_id = _task_id(node)
        if task_id is None or (around is not None and around.name == _joined(dag, task_id)):
            return around
        self.units.append(_Unit("task", _joined(dag, task_id), node.lineno, is_operator=True))
        return self.units[-1]

    def _function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef, dag: str, around: _Unit | None
    ) -> tuple[str, _Unit | None]:
        marks = [ast.unparse(mark).partition("(")[0] for mark in node.decorator_list]
        if "dag" in marks:
            call = next(mark for mark in node.decorator_list if ast.unparse(mark).startswith("dag"))
            return (_dag_id(call) or node.name), None
        is_task = any(mark == "task" or mark.startswith("task.") for mark in marks)
        unit = _Unit("task" if is_task else "Python function", _joined(dag, node.name), node.lineno)
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and (task_id := _keyword(mark, "task_id")) is not None:
                unit.name = _joined(dag, task_id)
        self.units.append(unit)
        return dag, unit

    def _take(self, unit: _Unit, text: str) -> None:
        unit.take(text)
        if text.rstrip().endswith((".sql", ".hql")) and (found := self._read_file(text.strip())) is not None:
            unit.take(found)

    def _text(self, node: ast.AST) -> str | None:
        """A string as far as it is known; what a run puts in is written as Jinja does."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.Name):
            return self._constants.get(node.id)
        if isinstance(node, ast.JoinedStr):
            return "".join(self._part(value) for value in node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self._text(node.left), self._text(node.right)
            return None if left is None and right is None else (left or _PUT_IN) + (right or _PUT_IN)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            return self._text(node.left)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            return self._text(node.func.value)
        return None

    def _part(self, value: ast.expr) -> str:
        if isinstance(value, ast.FormattedValue):
            return self._text(value.value) or _PUT_IN
        return self._text(value) or ""


def _task_id(call: ast.Call) -> str | None:
    """Of an operator, also of `Operator.partial(task_id=...).expand(...)`."""
    inner = call.func.value if isinstance(call.func, ast.Attribute) else None
    return _keyword(call, "task_id") or (_keyword(inner, "task_id") if isinstance(inner, ast.Call) else None)


def _keyword(call: ast.Call, name: str) -> str | None:
    found = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    return str(found.value) if isinstance(found, ast.Constant) else "?" if found is not None else None


def _dag_id(node: ast.AST) -> str | None:
    if not isinstance(node, ast.Call):
        return None
    called = ast.unparse(node.func).rpartition(".")[2]
    if called not in ("DAG", "dag"):
        return None
    first = node.args[0] if node.args else None
    return str(first.value) if isinstance(first, ast.Constant) else _keyword(node, "dag_id")


def _joined(dag: str, task: str) -> str:
    return f"{dag}.{task}" if dag else task
