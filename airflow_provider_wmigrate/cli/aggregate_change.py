"""The template change-aggregate: three migrations that change a continuous aggregate and keep its closed buckets.

TimescaleDB cannot do it: a new aggregate has only what raw rows are left for. So the next one is made beside it (1),
filled (2), gets the closed buckets of the old one, and takes its name (3). The order matters: a bucket that is copied
before the filling is deleted by it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from psycopg import sql

from airflow_provider_wmigrate.engine.errors import WMigrateError

from .patterns import COMMUNITY, REPEATABLE, Part, template

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.catalog.aggregate_definition import Aggregate, Policies, View


def parts(aggregate: Aggregate, title: str) -> tuple[Part, Part, Part]:
    """:raises WMigrateError: a column of GROUP BY is not among its columns."""
    return _next(aggregate, title), _fill(aggregate, title), _swap(aggregate, title)


def _next(old: Aggregate, title: str) -> Part:
    name = _name(old, "_next")
    apply = template(
        "change-aggregate.next.sql",
        title=title,
        keys=", ".join(_keys(old)),
        name=name,
        materialized=str(not old.real_time).lower(),
        definition=_definition(old),
    )
    return Part("next", apply, f"DROP MATERIALIZED VIEW {name};\n", COMMUNITY)


def _fill(old: Aggregate, title: str) -> Part:
    now = f"now()::{old.time_type}"
    until = f"{now} - INTERVAL {_text(old.policies.end_offset)}" if old.policies.end_offset else now
    apply = template("change-aggregate.fill.sql", title=title, name=_text(_name(old, "_next")), until=until)
    rollback = template("change-aggregate.fill.rollback.sql")
    return Part("fill", apply, rollback, (*REPEATABLE, *COMMUNITY), follows=True)


def _swap(old: Aggregate, title: str) -> Part:
    name, kept = _name(old), _name(old, "_old")
    apply = [
        f"-- {title}, 3 of 3: closed buckets are copied from the old aggregate, then the new one takes its name.",
        f"-- {kept} stays whole, and the rollback gives it back its name. A later migration drops it, without CASCADE:",
        f"--   DROP MATERIALIZED VIEW {kept};",
        *_notes(old),
        "",
        _copy(old),
        *_policies_off(name, old.policies, keep_refresh=bool(old.on_top)),
        _rename(old, "", "_old"),
        _rename(old, "_next", ""),
        *_belongings(old),
        *_policies_on(name, old.policies),
        *(_view(view) for view in old.views),
    ]
    rollback = [
        f"-- {name} becomes the old aggregate again. What was refreshed since the swap is computed by its policy.",
        "",
        *_policies_off(name, old.policies),
        *(f"DROP INDEX {index};" for index in _index_names(old)),
        _rename(old, "", "_next"),
        _rename(old, "_old", ""),
        *_policies_on(name, old.policies, again=bool(old.on_top)),
        *(_view(view) for view in old.views),
    ]
    return Part("swap", "\n".join(apply) + "\n", "\n".join(rollback) + "\n", COMMUNITY, follows=True)


def _notes(old: Aggregate) -> list[str]:
    notes = []
    if old.on_top:
        notes += [
            f"-- {', '.join(old.on_top)} reads the old one, which is refreshed as before for it. Change it next, with",
            "-- the same template; its buckets are then computed from the copied ones.",
        ]
    if old.others:
        notes.append(f"-- {', '.join(old.others)} goes on reading the old one: make it anew by hand.")
    return notes


def _copy(old: Aggregate) -> str:
    return template(
        "change-aggregate.copy.sql",
        name=_inside(_name(old)),
        new=_inside(_name(old, "_next")),
        keys=", ".join(_text(key) for key in _keys(old)),
        bucket=_inside(_identifier(old.bucket)),
        stored=_stored(old, ""),
        filled=_stored(old, "_next"),
        type=old.time_type,
        cutoff=_cutoff(old).rstrip(),
        oldtext=_text(_name(old)),
        newtext=_text(_name(old, "_next")),
    )


def _stored(old: Aggregate, suffix: str) -> str:
    """The hypertable with its buckets: its name is a number that differs from database to database."""
    return f"""(
        SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)
        FROM timescaledb_information.continuous_aggregates
        WHERE view_schema = {_text(old.schema)} AND view_name = {_text(old.name + suffix)}
    )"""


def _cutoff(old: Aggregate) -> str:
    """The first bucket whose raw rows are all there."""
    source = {"width": f"INTERVAL {_text(old.width)}", "schema": _text(old.schema), "next": _text(old.name + "_next")}
    if old.source_drop_after is None:
        return template("change-aggregate.gaps.sql", **source)
    kept = _text(old.source_drop_after)
    return template("change-aggregate.retention.sql", **source, retention=old.source_drop_after, kept=kept)


def _belongings(old: Aggregate) -> list[str]:
    """What the new one needs beside its rows. Indexes get another name: the old ones are still taken."""
    name = _name(old)
    lines = [f"ALTER MATERIALIZED VIEW {name} OWNER TO {_identifier(old.owner)};"] if old.owner else []
    for definition, index in zip(old.indexes, _index_names(old), strict=True):
        lines.append(_index(definition, index.rpartition(".")[2], old))
    for role, privilege, grantable in old.grants:
        option = " WITH GRANT OPTION" if grantable else ""
        lines.append(f"GRANT {privilege} ON {name} TO {role if role == 'PUBLIC' else _identifier(role)}{option};")
    if old.comment:
        lines.append(f"COMMENT ON VIEW {name} IS {_text(old.comment)};")
    lines += [f"COMMENT ON COLUMN {name}.{_identifier(c)} IS {_text(text)};" for c, text in old.column_comments]
    if old.columnstore:
        by = zip(("segmentby", "orderby"), old.columnstore, strict=True)
        more = "".join(f", timescaledb.{setting} = {_text(value)}" for setting, value in by if value)
        lines.append(f"ALTER MATERIALIZED VIEW {name} SET (timescaledb.enable_columnstore = true{more});")
    return lines


def _index(definition: str, name: str, old: Aggregate) -> str:
    from postgast import deparse, parse

    tree = parse(definition)
    statement = tree.stmts[0].stmt.index_stmt
    statement.idxname = name.strip('"')
    statement.relation.schemaname, statement.relation.relname = old.schema, old.name
    return f"{deparse(tree)};"


def _index_names(old: Aggregate) -> list[str]:
    from postgast import parse

    names = [parse(definition).stmts[0].stmt.index_stmt.idxname for definition in old.indexes]
    return [f"_timescaledb_internal.{_identifier(name + '_next')}" for name in names]


def _policies_off(name: str, policies: Policies, *, keep_refresh: bool = False) -> list[str]:
    lines = []
    if policies.refreshed and not keep_refresh:
        lines.append(f"SELECT remove_continuous_aggregate_policy({_text(name)});")
    if policies.columnstore_after:
        lines.append(f"CALL remove_columnstore_policy({_text(name)});")
    if policies.drop_after:
        lines.append(f"SELECT remove_retention_policy({_text(name)});")
    return lines


def _policies_on(name: str, policies: Policies, *, again: bool = False) -> list[str]:
    """:param again: the refresh policy was never taken away."""
    lines = []
    if policies.refreshed and not again:
        bounds = [
            f"    {bound} => " + (f"INTERVAL {_text(value)}" if value else "NULL")
            for bound, value in (
                ("start_offset", policies.start_offset),
                ("end_offset", policies.end_offset),
                ("schedule_interval", policies.schedule_interval),
            )
        ]
        lines.append(f"SELECT add_continuous_aggregate_policy({_text(name)},\n" + ",\n".join(bounds) + ");")
    if policies.columnstore_after:
        after = _text(policies.columnstore_after)
        lines.append(f"CALL add_columnstore_policy({_text(name)}, after => INTERVAL {after});")
    if policies.drop_after:
        lines.append(
            f"SELECT add_retention_policy({_text(name)}, drop_after => INTERVAL {_text(policies.drop_after)});"
        )
    return lines


def _view(view: View) -> str:
    """Made again, because it goes on reading the old aggregate under its new name otherwise."""
    options = f" WITH ({', '.join(view.options)})" if view.options else ""
    return f"CREATE OR REPLACE VIEW {view.name}{options} AS\n{view.definition}"


def _rename(old: Aggregate, before: str, after: str) -> str:
    return f"ALTER MATERIALIZED VIEW {_name(old, before)} RENAME TO {_identifier(old.name + after)};"


def _keys(old: Aggregate) -> tuple[str, ...]:
    """The columns of GROUP BY: two buckets are the same if these are equal."""
    from postgast import parse

    select = parse(old.definition).stmts[0].stmt.select_stmt
    columns = {}
    for target in select.target_list:
        value = target.res_target.val
        named = target.res_target.name or value.column_ref.fields[-1].string.sval
        columns[_shape(value)] = named
    keys = [columns.get(_shape(expression)) for expression in select.group_clause]
    if not keys or None in keys:
        raise WMigrateError(
            f"not every column of GROUP BY is a column of {old.name}: its buckets cannot be told apart",
            hint="write the migrations by hand; docs/how-to/change-an-aggregate.md tells the steps",
        )
    return tuple(key for key in keys if key)


def _shape(node: object) -> str:
    """Without where in the text it stands."""
    return re.sub(r"\blocation: -?\d+\n?", "", str(node))


def _definition(old: Aggregate) -> str:
    """An aggregate on one that was changed before reads that one under its new name: it is to read the one after it.

    Before PostgreSQL 16, the server writes the name in front of every column as well.
    """
    if not old.reads or not old.reads[1].endswith("_old"):
        return old.definition
    schema, name = old.reads
    new = name.removesuffix("_old")
    text = re.sub(rf"{re.escape(_dotted(schema, name))}(?!\w)", lambda _: _dotted(schema, new), old.definition)
    return re.sub(rf"(?<![\w.\"]){re.escape(_identifier(name))}\.", lambda _: f"{_identifier(new)}.", text)


def _name(old: Aggregate, suffix: str = "") -> str:
    return _dotted(old.schema, old.name + suffix)


def _dotted(schema: str, name: str) -> str:
    return f"{_identifier(schema)}.{_identifier(name)}"


def _identifier(name: str) -> str:
    """Quoted where it must be, as the server writes it: people read these scripts."""
    from postgast import scan

    if re.fullmatch(r"[a-z_][a-z0-9_]*", name) and scan(name).tokens[0].keyword_kind <= _UNRESERVED:
        return name
    return sql.Identifier(name).as_string(None)


# postgast.pg_query_pb2.KeywordKind: no keyword, or an unreserved one
_UNRESERVED = 1


def _text(value: str) -> str:
    return sql.Literal(value).as_string(None).strip()


def _inside(text: str) -> str:
    """In a string that format() or RAISE reads."""
    return text.replace("'", "''").replace("%", "%%")
