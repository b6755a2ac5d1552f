"""Which relations and columns a statement uses, by its tree alone: names are resolved as PostgreSQL does, as far as
that goes without its catalogs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from .arguments import constant
from .definitions import of_definition
from .query_scope import InFrom, QueryScope, Rows, Table, Use, others, table_in_string, table_of


def uses(statements: Iterable[Any], rows: Rows | None = None) -> tuple[Use, ...]:
    """Of statements, as the grammar gives them, each use once.

    :param rows: variables around them.
    """
    reader = _Reader(rows or {})
    for statement in statements:
        reader.visit(statement, QueryScope())
    return tuple(dict.fromkeys((*reader.found, *reader.loosely())))


_NOTHING: tuple[frozenset[Table], frozenset[str]] = (frozenset(), frozenset())


class _Reader:
    def __init__(self, rows: Rows) -> None:
        self.found: dict[Use, None] = {}
        self._rows = rows
        self._loose: dict[str, None] = {}
        """Columns of something that no FROM has: a record, a composite."""

    def loosely(self) -> Iterator[Use]:
        """A record may hold rows of whatever is read as a whole."""
        whole = {(use.schema, use.name) for use in self.found if use.how in ("star", "rows")}
        for column in self._loose:
            for table in sorted(whole):
                yield Use("column", *table, column, sure=False)

    def _add(self, how: Any, table: Table, column: str = "", **more: Any) -> None:
        self.found[Use(how, *table, column, **more)] = None

    # The tree

    def visit(self, message: Any, scope: QueryScope) -> None:
        if message.DESCRIPTOR.name == "Node":
            kind = message.WhichOneof("node")
            if kind is not None:
                self.visit(getattr(message, kind), scope)
            return
        rule = _RULES.get(message.DESCRIPTOR.name)
        if rule is not None:
            rule(self, message, scope)
        elif message.DESCRIPTOR.name.endswith("Stmt") and message.DESCRIPTOR.name not in _INNER:
            self.inside(message, scope)
            self.found.update(dict.fromkeys(of_definition(message)))
        else:
            self.inside(message, scope)

    def inside(self, message: Any, scope: QueryScope, but: tuple[str, ...] = ()) -> None:
        for field, value in message.ListFields():
            if field.message_type is not None and field.name not in but:
                for each in value if field.is_repeated else (value,):
                    self.visit(each, scope)

    # Queries

    def select(self, node: Any, outer: QueryScope, *, fixed: bool = False) -> tuple[frozenset[Table], frozenset[str]]:
        """:param fixed: as many columns are wanted as there are.
        :return: the tables whose columns it hands on with `*`, and the names of its other columns.
        """
        scope = QueryScope(outer)
        self._with(node, scope)
        if node.HasField("larg"):
            left = self.select(node.larg, scope, fixed=True)
            self.select(node.rarg, scope, fixed=True)
            return left
        for item in node.from_clause:
            self._from(item, scope)
        scope.output = frozenset(t.res_target.name for t in node.target_list if t.res_target.name)
        handed: set[Table] = set()
        for target in node.target_list:
            handed |= self._target(target.res_target, scope, fixed=fixed)
        self.inside(node, scope, _DONE)
        for item in (*node.sort_clause, *node.group_clause):
            fields = item.sort_by.node.column_ref.fields or item.column_ref.fields
            if len(fields) != 1 or fields[0].string.sval not in scope.output:
                self.visit(item, scope)
        return frozenset(handed), scope.output

    def _with(self, node: Any, scope: QueryScope) -> None:
        for item in node.with_clause.ctes:
            query = item.common_table_expr
            scope.queries[query.ctename] = InFrom(query.ctename, *_NOTHING)
            given = frozenset(name.string.sval for name in query.aliascolnames)
            tables, names = self._query(query.ctequery, scope, fixed=bool(given))
            scope.queries[query.ctename] = InFrom(query.ctename, tables, names | given)

    def _query(self, node: Any, scope: QueryScope, *, fixed: bool = False) -> tuple[frozenset[Table], frozenset[str]]:
        if node.WhichOneof("node") == "select_stmt":
            return self.select(node.select_stmt, scope, fixed=fixed)
        self.visit(node, scope)
        return _NOTHING

    def _target(self, target: Any, scope: QueryScope, *, fixed: bool) -> frozenset[Table]:
        fields = [*target.val.column_ref.fields]
        if not fields or not fields[-1].HasField("a_star"):
            self.visit(target.val, scope)
            return frozenset()
        if len(fields) > 1:
            entry = scope.named(fields[-2].string.sval)
            entries = [entry] if entry else []
        else:
            entries = scope.entries
        tables = frozenset(table for entry in entries for table in entry.tables)
        for table in tables:
            self._add("rows" if fixed else "star", table)
        return tables

    def _from(self, node: Any, scope: QueryScope) -> None:
        kind = node.WhichOneof("node")
        if kind == "range_var":
            self._relation(node.range_var, scope)
        elif kind == "join_expr":
            self._join(node.join_expr, scope)
        elif kind == "range_subselect":
            alias = node.range_subselect.alias
            given = frozenset(name.string.sval for name in alias.colnames)
            tables, names = self._query(node.range_subselect.subquery, scope, fixed=bool(given))
            scope.entries.append(InFrom(alias.aliasname, tables, names | given))
        elif kind == "range_table_sample":
            self._from(node.range_table_sample.relation, scope)
        else:
            inner = getattr(node, kind)
            self.inside(inner, scope)
            given = frozenset(name.string.sval for name in inner.alias.colnames)
            scope.entries.append(InFrom(inner.alias.aliasname, frozenset(), given))

    def _relation(self, node: Any, scope: QueryScope) -> None:
        alias = node.alias.aliasname or node.relname
        query = None if node.schemaname else scope.queries.get(node.relname)
        if query is not None:
            scope.entries.append(replace(query, alias=alias))
            return
        table = (node.schemaname, node.relname)
        self._add("relation", table)
        if node.alias.colnames:
            self._add("rows", table)
        given = frozenset(name.string.sval for name in node.alias.colnames)
        scope.entries.append(InFrom(alias, frozenset({table}), given))

    def _join(self, node: Any, scope: QueryScope) -> None:
        before = len(scope.entries)
        self._from(node.larg, scope)
        self._from(node.rarg, scope)
        joined = {table for entry in scope.entries[before:] for table in entry.tables}
        for table in joined:
            if node.is_natural:
                self._add("rows", table)
            for name in node.using_clause:
                self._add("column", table, name.string.sval)
        if node.HasField("quals"):
            self.visit(node.quals, scope)
        if node.alias.aliasname:
            scope.entries.append(InFrom(node.alias.aliasname, frozenset(joined)))

    # Changes of rows

    def insert(self, node: Any, outer: QueryScope) -> None:
        scope = QueryScope(outer)
        self._with(node, scope)
        table = self._changed(node.relation, scope)
        self._columns(table, (item.res_target for item in node.cols), scope)
        if not node.cols and node.HasField("select_stmt"):
            self._add("rows", table)
        if node.HasField("select_stmt"):
            self._query(node.select_stmt, QueryScope(outer) if not node.HasField("with_clause") else scope, fixed=True)
        conflict = node.on_conflict_clause
        scope.entries.append(InFrom("excluded", frozenset({table})))
        for item in conflict.infer.index_elems:
            if item.index_elem.name:
                self._add("column", table, item.index_elem.name)
        self._columns(table, (item.res_target for item in conflict.target_list), scope)
        self.inside(conflict, scope, ("target_list",))
        self._returning(node, scope)

    def update(self, node: Any, outer: QueryScope) -> None:
        scope = QueryScope(outer)
        self._with(node, scope)
        table = self._changed(node.relation, scope)
        for item in node.from_clause:
            self._from(item, scope)
        self._columns(table, (item.res_target for item in node.target_list), scope)
        self.inside(node, scope, ("relation", "target_list", "from_clause", "with_clause", "returning_clause"))
        self._returning(node, scope)

    def delete(self, node: Any, outer: QueryScope) -> None:
        scope = QueryScope(outer)
        self._with(node, scope)
        self._changed(node.relation, scope)
        for item in node.using_clause:
            self._from(item, scope)
        self.inside(node, scope, ("relation", "using_clause", "with_clause", "returning_clause"))
        self._returning(node, scope)

    def merge(self, node: Any, outer: QueryScope) -> None:
        scope = QueryScope(outer)
        self._with(node, scope)
        table = self._changed(node.relation, scope)
        self._from(node.source_relation, scope)
        self.visit(node.join_condition, scope)
        for item in node.merge_when_clauses:
            clause = item.merge_when_clause
            self._columns(table, (each.res_target for each in clause.target_list), scope)
            if clause.values and not clause.target_list:
                self._add("rows", table)
            self.inside(clause, scope, ("target_list",))
        self._returning(node, scope)

    def copy(self, node: Any, scope: QueryScope) -> None:
        if node.HasField("query"):
            self.visit(node.query, scope)
        if not node.HasField("relation"):
            return
        table = (node.relation.schemaname, node.relation.relname)
        self._add("relation", table)
        for name in node.attlist:
            self._add("column", table, name.string.sval)
        if not node.attlist:
            self._add("rows" if node.is_from else "star", table)
        if node.is_from:
            self._add("written", table)
        if node.HasField("where_clause"):
            inner = QueryScope(scope)
            inner.entries.append(InFrom(table[1], frozenset({table})))
            self.visit(node.where_clause, inner)

    def _changed(self, node: Any, scope: QueryScope) -> Table:
        """The table whose rows a statement changes: never a WITH query."""
        table = (node.schemaname, node.relname)
        self._add("relation", table)
        self._add("written", table)
        scope.entries.append(InFrom(node.alias.aliasname or node.relname, frozenset({table})))
        return table

    def _columns(self, table: Table, targets: Iterable[Any], scope: QueryScope) -> None:
        for target in targets:
            self._add("column", table, target.name)
            self.inside(target, scope)

    def _returning(self, node: Any, scope: QueryScope) -> None:
        for item in node.returning_clause.exprs or getattr(node, "returning_list", ()):
            self._target(item.res_target, scope, fixed=False)

    # Names

    def column(self, node: Any, scope: QueryScope) -> None:
        before, last = list(node.fields)[:-1], node.fields[-1]
        name, path = last.string.sval, [part.string.sval for part in before]
        if last.HasField("a_star"):
            self._whole(path[-1] if path else "", scope)
        elif len(path) > 1:
            self._add("column", (path[-2], path[-1]), name)
        elif path:
            self._qualified(path[0], name, scope)
        else:
            self._unqualified(name, scope)

    def _whole(self, alias: str, scope: QueryScope) -> None:
        entry = scope.named(alias)
        for table in entry.tables if entry else self._rows.get(alias, ()):
            self._add("star", table)

    def _qualified(self, alias: str, name: str, scope: QueryScope) -> None:
        entry = scope.named(alias)
        tables = entry.tables if entry else self._rows.get(alias)
        if tables is None:
            self._loose[name] = None
            return
        if entry is None or name not in entry.names:
            for table in tables:
                self._add("column", table, name, among=others(table, tables))

    def _unqualified(self, name: str, scope: QueryScope) -> None:
        self._whole(name, scope)
        around: set[Table] = set()
        for each in scope.chain():
            if any(name in entry.names for entry in each.entries):
                break
            around |= {table for entry in each.entries for table in entry.tables}
        for table in around:
            self._add("column", table, name, among=others(table, around))

    def call(self, node: Any, scope: QueryScope) -> None:
        parts = [part.string.sval for part in node.funcname]
        self._add("function", table_of(parts))
        for argument in node.args:
            self._string(constant(argument))
        self.inside(node, scope)

    def field_of(self, node: Any, scope: QueryScope) -> None:
        """`(row).column`."""
        self._loose.update((part.string.sval, None) for part in node.indirection if part.HasField("string"))
        self.inside(node, scope)

    def cast(self, node: Any, scope: QueryScope) -> None:
        if node.type_name.names and node.type_name.names[-1].string.sval.startswith("reg"):
            self._string(constant(node.arg))
        self.inside(node, scope)

    def type(self, node: Any, scope: QueryScope) -> None:
        parts = [part.string.sval for part in node.names]
        if node.pct_type and len(parts) > 1:
            self._add("column", (parts[-3] if len(parts) > 2 else "", parts[-2]), parts[-1])
        elif parts:
            self._add("relation", table_of(parts))

    def _string(self, text: str | None) -> None:
        table = table_in_string(text)
        if table is not None:
            self._add("relation", table, sure=False)


_DONE = ("from_clause", "target_list", "sort_clause", "group_clause", "with_clause", "locking_clause")
"""Fields of a SELECT that are read one by one."""
_INNER = frozenset({"RawStmt", "ExplainStmt", "PrepareStmt", "DeclareCursorStmt", "CreateTableAsStmt", "ViewStmt"})
"""Statements around others."""
_RULES: Mapping[str, Any] = {
    "SelectStmt": _Reader.select,
    "InsertStmt": _Reader.insert,
    "UpdateStmt": _Reader.update,
    "DeleteStmt": _Reader.delete,
    "MergeStmt": _Reader.merge,
    "CopyStmt": _Reader.copy,
    "ColumnRef": _Reader.column,
    "FuncCall": _Reader.call,
    "A_Indirection": _Reader.field_of,
    "TypeCast": _Reader.cast,
    "TypeName": _Reader.type,
}
