"""SQL in serialized DAGs, in what the last runs have rendered of it, and in the code of the DAG files. It is for who
has Airflow's own database: its API server and its command line."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_wmigrate.engine.blast import Elsewhere, Found
from airflow_provider_wmigrate.engine.plan.blast import Source
from airflow_provider_wmigrate.engine.sql.read_sql import is_template

from .python import SureOf, in_python, looks_like_sql

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_BATCH = 50
"""Serialized DAGs in memory at a time."""
_OURS = "airflow_provider_wmigrate."
_UNSEEN = (
    "SQL in modules that DAG files import, and in files that only a run reads",
    "arguments of operators that are no template fields and that a run puts together",
)


def in_metadata(session: Session, *, sure: SureOf, readable: Collection[str] | None = None) -> Elsewhere:
    """:param sure: of a connection's id.
    :param readable: the DAGs that the caller may read; None: all.
    """

    def look(words: frozenset[str]) -> Found:
        return _look(session, words, sure, readable)

    return look


def _look(session: Session, words: frozenset[str], sure: SureOf, readable: Collection[str] | None) -> Found:
    named = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(words)))})(?!\w)", re.IGNORECASE)
    found, unseen = list[Source](), list(_UNSEEN)
    newest = _newest(session)
    mine = {dag_id: row for dag_id, row in newest.items() if readable is None or dag_id in readable}
    if len(mine) < len(newest):
        unseen.append(f"{len(newest) - len(mine)} of {len(newest)} DAGs, which you may not read")
    for dag_id, data in _serialized(session, mine):
        tasks = [task["__var"] for task in data.get("dag", {}).get("tasks", ()) if isinstance(task.get("__var"), dict)]
        for task in tasks:
            source = _of_task(session, dag_id, task, sure)
            if source is not None and (named.search(source.whole) or is_template(source.whole)):
                found.append(source)
    for file, text in _codes(session, mine):
        if named.search(text):
            try:
                found += in_python(text, file, sure=sure, read_file=lambda name: None, beside=True)
            except (SyntaxError, ValueError, RecursionError):
                unseen.append(f"{file}: it is no Python of this version")
    return Found(found, tuple(unseen))


def _newest(session: Session) -> dict[str, tuple[Any, Any]]:
    """DAG id -> row of its newest serialized version, and that version."""
    from airflow.models.dag import DagModel
    from airflow.models.dag_version import DagVersion
    from airflow.models.serialized_dag import SerializedDagModel
    from sqlalchemy import select

    query = (
        select(SerializedDagModel.dag_id, SerializedDagModel.id, DagVersion.id)
        .join(DagVersion, SerializedDagModel.dag_version_id == DagVersion.id)
        .join(DagModel, DagModel.dag_id == SerializedDagModel.dag_id)
        .where(DagModel.is_stale.is_(False))
        .order_by(SerializedDagModel.dag_id, DagVersion.version_number)
    )
    return {dag_id: (row, version) for dag_id, row, version in session.execute(query)}


def _serialized(session: Session, rows: Mapping[str, tuple[Any, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    from airflow.models.serialized_dag import SerializedDagModel
    from sqlalchemy import select

    ids = [row for row, _ in rows.values()]
    for start in range(0, len(ids), _BATCH):
        part = ids[start : start + _BATCH]
        for model in session.scalars(select(SerializedDagModel).where(SerializedDagModel.id.in_(part))).all():
            yield model.dag_id, model.data or {}
            session.expunge(model)


def _codes(session: Session, rows: Mapping[str, tuple[Any, Any]]) -> Iterator[tuple[str, str]]:
    """Each DAG file once, by its name."""
    from airflow.models.dagcode import DagCode
    from sqlalchemy import select

    versions, seen = [version for _, version in rows.values()], set()
    for start in range(0, len(versions), _BATCH):
        part = versions[start : start + _BATCH]
        query = select(DagCode.fileloc, DagCode.source_code).where(DagCode.dag_version_id.in_(part))
        for file, text in session.execute(query):
            if file not in seen:
                seen.add(file)
                yield file.rpartition("/")[2], text


def _of_task(session: Session, dag_id: str, task: Mapping[str, Any], sure: SureOf) -> Source | None:
    """None: it is one of ours, or it uses another database."""
    if str(task.get("_task_module", "")).startswith(_OURS):
        return None
    fields = [*(task.get("template_fields") or ())]
    given = {name: task[name] for name in fields if name in task} | dict(_mapped(task))
    conn_ids = [value for name, value in given.items() if name.endswith("conn_id") and isinstance(value, str)]
    grades = [grade for conn_id in (*conn_ids, *([] if conn_ids else [None])) if (grade := sure(conn_id)) is not None]
    if not grades:
        return None
    texts = [text for name, value in given.items() if not name.endswith("conn_id") for text in strings(value)]
    if any(is_template(text) for text in texts):
        texts += _rendered(session, dag_id, str(task["task_id"]))
    sql = tuple(text for text in texts if looks_like_sql(text))
    words = tuple(text for text in texts if not looks_like_sql(text))
    return Source("task", f"{dag_id}.{task['task_id']}", sql, grades[0], words) if texts else None


def _mapped(task: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a mapped operator is given, the same for all or one by one."""
    for where in ("partial_kwargs", "expand_input"):
        if where in task:
            found = task[where]
            plain = found.get("__var", found) if isinstance(found, dict) else {}
            yield from ((name, value) for name, value in plain.items() if name.endswith("conn_id"))
            yield where, {name: value for name, value in plain.items() if not name.endswith("conn_id")}


def strings(value: Any) -> Iterator[str]:
    """All texts in a value, without the wrappers of Airflow's serialization."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        inner = value["__var"] if set(value) == {"__type", "__var"} else [*value, *value.values()]
        for each in inner if isinstance(inner, list) else (inner,):
            yield from strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from strings(each)


def _rendered(session: Session, dag_id: str, task_id: str) -> list[str]:
    """What the last run of the task has made of its templates."""
    from airflow.models.dagrun import DagRun
    from airflow.models.renderedtifields import RenderedTaskInstanceFields as Rendered
    from sqlalchemy import select

    query = (
        select(Rendered.rendered_fields)
        .join(DagRun, (DagRun.dag_id == Rendered.dag_id) & (DagRun.run_id == Rendered.run_id))
        .where(Rendered.dag_id == dag_id, Rendered.task_id == task_id)
        .order_by(DagRun.run_after.desc())
        .limit(1)
    )
    found = session.scalar(query)
    return [*strings(found)] if found else []
