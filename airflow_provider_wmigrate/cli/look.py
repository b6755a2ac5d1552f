"""status, info, health, graph: looking without changing anything."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_wmigrate.engine.model import Entry, Status

from .call import Answer, Call
from .failure import DONE, FOUND
from .screen import Screen, show_findings, took

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.plan.overview import Standing

_GRAPH_COLOURS = {
    Status.APPLIED: "#cfead6",
    Status.PENDING: "#fdf3c8",
    Status.FAILED: "#f2a19b",
    Status.LEFT_OUT: "#e6e6e6",
    Status.CHANGED: "#f7d0cd",
    Status.MISSING: "#f7d0cd",
    Status.FORGOTTEN: "#e6e6e6",
    Status.INCOMPLETE: "#f2a19b",
}


def status(call: Call) -> Answer:
    """Every migration that the folder or the ledger knows."""
    folder = call.seen_folder
    found = call.planning(folder).overview()
    rows = [_standing_document(standing) for standing in found.standings]
    order = sorted(found.counts, key=lambda s: s is not Status.APPLIED)
    data = {
        "target": call.target_document(),
        "environment": call.environment,
        "folder": str(call.folder_path),
        "ledger_version": found.ledger_version,
        "counts": {s.value: found.counts[s] for s in order},
        "migrations": rows,
        "findings": folder.wrong,
    }

    def show(screen: Screen) -> None:
        screen.table(("Version", "Name", "Status", "Applied (UTC)", "By", "Took"), map(_cells, found.standings))
        for standing in found.standings:
            for text in _remarks(standing):
                screen.line(text)
        told = ", ".join(f"{found.counts[s]} {s.words}" for s in order) or "no migrations"
        none = "" if found.ledger_version is not None else "; it has no ledger yet"
        screen.line(f"{told} on {call.target}{none}.")
        show_findings(screen, folder.wrong)

    return Answer(data, show, FOUND if folder.wrong else DONE)


def _standing_document(standing: Standing) -> dict[str, Any]:
    migration = standing.migration
    return {
        "version": standing.version,
        "status": standing.status.value,
        "name": standing.name,
        "file": migration.script.file if migration else None,
        "description": migration.description if migration else "",
        "left_out_because": standing.reason or None,
        **_entry_document(standing.entry),
        "failure": standing.failure.as_dict() if standing.failure else None,
    }


def _cells(standing: Standing) -> tuple[str, ...]:
    version, name, words, entry = standing.version, standing.name, standing.status.words, standing.entry
    if entry is None:
        return version, name, words, "", "", ""
    return version, name, words, moment(entry.applied_at), entry.identity.actor, took(entry.duration_ms)


def _remarks(standing: Standing) -> Iterator[str]:
    """What a status does not say by itself: why it is left out, and what failed."""
    if standing.reason:
        yield f"{standing.version} is left out: {standing.reason}"
    failure = standing.failure
    if failure is not None:
        verb = "rollback" if failure.direction == "rollback" else "apply"
        who = failure.identity.actor + (f" in run {failure.identity.run_id}" if failure.identity.run_id else "")
        yield f"{standing.version}: the last {verb} failed on {moment(failure.at)} UTC, by {who}: {failure.error}"


def _entry_document(entry: Entry | None) -> dict[str, Any]:
    if entry is None:
        return dict.fromkeys(("applied_at", "duration_ms", "actor", "dag_id", "run_id", "task_id", "try_number"))
    return {"applied_at": entry.applied_at, "duration_ms": entry.duration_ms, **entry.identity.columns()}


def health(call: Call) -> Answer:
    """Whether the target is healthy: exit code 3 if it is not."""
    from airflow_provider_wmigrate.engine.health.inspection import check_health

    found = check_health(call.target.connect, call.seen_folder, environment=call.environment)
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
    path = call.folder_path
    folder = call.seen_folder if path.is_dir() else None
    config = folder.config if folder else call.config
    system = config.migration_system
    data: dict[str, Any] = {
        "wmigrate": sys.modules["airflow_provider_wmigrate"].__version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "folder": str(path) if folder else None,
        "migrations": len(folder.migrations) if folder else 0,
        "environment": call.environment,
        "environments": list(config.environments),
        "project_version": system.version or None,
        "description": system.description or None,
        "ledger_schema": call.settings.ledger.schema_name,
        "env_file": str(call.env_file.path) if call.env_file.path else None,
        "target": None,
        "passed_over": [],
        "server": None,
    }
    if call.optional_target is not None:
        data |= {"passed_over": call.optional_target.passed_over(), **_server(call)}
    wrong = folder.wrong if folder else ()

    def show(screen: Screen) -> None:
        screen.table(("What", "Value"), list(_pairs(data)))
        show_findings(screen, wrong)

    return Answer({**data, "findings": wrong}, show, FOUND if wrong else DONE)


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
    folder = call.folder
    known: dict[str, Status] = {}
    if call.arguments.statuses:
        known = call.planning().plan().statuses
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
    return Answer(data, lambda screen: screen.text(text))


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
        said = f"\\n{known[version].words}" if version in known else ""
        lines.append(f'    "{version}" [label="{version} {name}{said}"{colour}];')
    lines += [f'    "{parent}" -> "{version}";' for parent, version in edges]
    return "\n".join([*lines, "}"])


def moment(at: datetime | None) -> str:
    """A time as a person reads it, in UTC."""
    return "" if at is None else f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S}"
