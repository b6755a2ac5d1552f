"""status, info, health, graph: looking without changing anything."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from airflow_provider_wmigrate.engine.model import Entry, Status

from .call import Answer, Call
from .failure import DONE, FOUND
from .screen import Screen, plural, took

_GRAPH_COLOURS = {
    Status.APPLIED: "#cfead6",
    Status.PENDING: "#fdf3c8",
    Status.CHANGED: "#f7d0cd",
    Status.MISSING: "#f7d0cd",
    Status.INCOMPLETE: "#f2a19b",
}


def status(call: Call) -> Answer:
    """Every migration that the folder or the ledger knows."""
    from airflow_provider_wmigrate.engine.plan.planner import statuses

    migrator = call.migrator()
    state = migrator.read()
    entries = {e.version: e for e in state.entries}
    known = statuses(list(migrator.migrations.values()), state.entries)
    rows = []
    for version, now in known.items():
        migration = migrator.migrations.get(version)
        names: dict[str, str | None] = {"name": migration.name if migration else entries[version].name}
        names |= {"file": migration.script.file if migration else None}
        names |= {"description": migration.description if migration else ""}
        rows.append({"version": version, "status": now.value, **names, **_entry_document(entries.get(version))})
    order = sorted(Status, key=lambda s: s is not Status.APPLIED)
    counts = {s.value: n for s in order if (n := sum(row["status"] == s.value for row in rows))}
    data = {
        "target": call.target_document(),
        "environment": call.environment,
        "folder": str(call.folder_path),
        "ledger_version": state.ledger_version,
        "counts": counts,
        "migrations": rows,
    }

    def show(screen: Screen) -> None:
        screen.table(
            ("Version", "Name", "Status", "Applied (UTC)", "By", "Took"),
            [
                (
                    row["version"],
                    row["name"],
                    row["status"],
                    moment(row["applied_at"]),
                    row["actor"],
                    took(row["duration_ms"]),
                )
                for row in rows
            ],
        )
        told = ", ".join(f"{count} {name}" for name, count in counts.items()) or "no migrations"
        none = "" if state.ledger_version is not None else "; it has no ledger yet"
        screen.line(f"{told} on {call.target}{none}.")

    return Answer(data, show)


def _entry_document(entry: Entry | None) -> dict[str, Any]:
    if entry is None:
        return dict.fromkeys(("applied_at", "duration_ms", "actor", "dag_id", "run_id", "task_id", "try_number"))
    who = entry.identity
    return {
        "applied_at": entry.applied_at,
        "duration_ms": entry.duration_ms,
        "actor": who.actor,
        "dag_id": who.dag_id,
        "run_id": who.run_id,
        "task_id": who.task_id,
        "try_number": who.try_number,
    }


def health(call: Call) -> Answer:
    """Whether the target is healthy: exit code 3 if it is not."""
    from airflow_provider_wmigrate.engine.health.inspection import check_health

    found = check_health(call.target.connect, call.folder, environment=call.environment)
    data = {"target": call.target_document(), **found.as_dict()}

    def show(screen: Screen) -> None:
        screen.table(("Check", "Status", "Reason"), [(c.name, c.status, c.reason) for c in found.checks])
        for check in found.checks:
            if check.status in ("degraded", "unhealthy") and check.next_step:
                screen.line(f"{check.name}: {check.next_step}")
        screen.line(f"{found.status}: {call.target}, looked at in {took(found.duration_ms)}.")

    return Answer(data, show, DONE if found.status == "healthy" else FOUND)


def info(call: Call) -> Answer:
    """Versions and places: what to say first in a bug report."""
    config, path = call.config, call.folder_path
    system = config.migration_system
    data: dict[str, Any] = {
        "wmigrate": sys.modules["airflow_provider_wmigrate"].__version__,
        "python": platform.python_version(),
        "folder": str(path) if path.is_dir() else None,
        "migrations": len(call.folder.migrations) if path.is_dir() else 0,
        "environment": call.environment,
        "environments": list(config.environments),
        "project_version": system.version or None,
        "description": system.description or None,
        "ledger_schema": call.settings.ledger.schema_name,
        "target": None,
        "server": None,
    }
    if call.optional_target is not None:
        data |= _server(call)
    return Answer(data, lambda screen: screen.table(("What", "Value"), list(_pairs(data))))


def _server(call: Call) -> dict[str, Any]:
    with call.session() as session:
        conn, ledger = session.conn, call.ledger
        extensions = conn.execute("SELECT extname, extversion FROM pg_catalog.pg_extension ORDER BY 1").fetchall()
        (size,) = conn.execute("SELECT pg_catalog.pg_database_size(pg_catalog.current_database())").fetchone() or (0,)
        version = ledger.version(conn)
        kept = ledger.metadata(conn) if version is not None else {}
        server = {
            "version": conn.info.parameter_status("server_version"),
            "extensions": dict(extensions),
            "size_bytes": size,
            "ledger_version": version,
            "schema_version": kept.get("schema_version") or None,
            "audit_head": kept.get("audit_head"),
            "last_successful_run": kept.get("last_successful_run"),
        }
    return {"target": call.target_document(), "server": server}


def _pairs(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in data.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, dict) and value:
            yield from _pairs(value, f"{name} ")
        elif value not in (None, [], {}):
            yield name, ", ".join(value) if isinstance(value, list) else str(value)


def graph(call: Call) -> Answer:
    """The dependencies as a drawing."""
    from airflow_provider_wmigrate.engine.plan.planner import statuses

    folder = call.folder
    known: dict[str, Status] = {}
    if call.arguments.statuses:
        migrator = call.migrator()
        known = statuses(list(migrator.migrations.values()), migrator.read().entries)
    nodes = [(m.version, m.name) for m in folder.migrations]
    edges = [(parent, version) for version in folder.graph.order for parent in folder.graph.parents[version]]
    draw = {"mermaid": _mermaid, "dot": _dot}[call.arguments.format]
    text = draw(nodes, edges, known)
    data = {
        "format": call.arguments.format,
        "nodes": [{"version": v, "name": n, "status": known[v].value if v in known else None} for v, n in nodes],
        "edges": [{"from": parent, "to": version} for parent, version in edges],
        "text": text,
    }
    return Answer(data, lambda screen: screen.line(text))


_Nodes = list[tuple[str, str]]


def _mermaid(nodes: _Nodes, edges: _Nodes, known: dict[str, Status]) -> str:
    lines = ["flowchart LR"]
    for version, name in nodes:
        style = f":::{known[version].value}" if version in known else ""
        lines.append(f'    m{version}["{version} {name}"]{style}')
    lines += [f"    m{parent} --> m{version}" for parent, version in edges]
    used = dict.fromkeys(known[version] for version, _ in nodes if version in known)
    lines += [f"    classDef {s.value} fill:{_GRAPH_COLOURS[s]},color:#222" for s in used]
    return "\n".join(lines)


def _dot(nodes: _Nodes, edges: _Nodes, known: dict[str, Status]) -> str:
    lines = [
        "digraph migrations {",
        "    rankdir=LR;",
        '    node [shape=box, style="rounded,filled", fillcolor=white];',
    ]
    for version, name in nodes:
        colour = f', fillcolor="{_GRAPH_COLOURS[known[version]]}"' if version in known else ""
        said = f"\\n{known[version].value}" if version in known else ""
        lines.append(f'    "{version}" [label="{version} {name}{said}"{colour}];')
    lines += [f'    "{parent}" -> "{version}";' for parent, version in edges]
    return "\n".join([*lines, "}"])


def moment(at: datetime | None) -> str:
    """A time as a person reads it, in UTC."""
    return "" if at is None else f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S}"


def summary(count: int, total: int, noun: str) -> str:
    """`3 rows` or `3 of 10 rows`."""
    return plural(count, noun) if count == total else f"{count} of {plural(total, noun)}"
