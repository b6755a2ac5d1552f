"""Which migration groups there are, read from Airflow's serialized DAGs: no DAG file, no folder, no target database."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_wmigrate.engine.model import version_key
from airflow_provider_wmigrate.folding import HISTORY
from airflow_provider_wmigrate.task_docs import HistoryDoc, MigrationDoc

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_MODULES = tuple(f"airflow_provider_wmigrate.{name}" for name in ("plan_operator", "operators", "history"))
_STEPS = ("ApplyMigrationOperator", "RollBackMigrationOperator")
_HISTORIES = ("ApplyHistoryOperator", "RollBackHistoryOperator")
_MAPPED = "MappedArgument("
"""What Airflow's serialization makes of an argument of a mapped task group."""
_BATCH = 50
"""Serialized DAGs in memory at a time while they are looked through."""

_NAME = r"(\w+)"
_REFERENCE = (
    rf"params\.{_NAME}",
    rf"params\[['\"]{_NAME}['\"]\]",
    rf"dag_run\.conf\.get\(['\"]{_NAME}['\"]\)",
    rf"dag_run\.conf\[['\"]{_NAME}['\"]\]",
    rf"\(dag_run\.conf or {{}}\)\.get\(['\"]{_NAME}['\"], ''\)",
)
_TEMPLATE = re.compile(r"\{\{\s*(?:" + "|".join(_REFERENCE) + r")\s*\}\}")


@dataclass(frozen=True, slots=True)
class StepTask:
    """The task of one migration; of those that are folded it is the same one."""

    version: str
    task_id: str
    checksum: str
    doc: MigrationDoc

    @property
    def stem(self) -> str:
        return self.doc.script.file.rpartition(".")[0] if self.doc.script else self.task_id.rpartition(".")[2]

    @property
    def is_folded(self) -> bool:
        """Whether other migrations have the same task."""
        return self.task_id.rpartition(".")[2] == HISTORY

    @property
    def name(self) -> str:
        return self.stem.partition("_")[2]

    @property
    def dependencies(self) -> tuple[str, ...]:
        return self.doc.dependencies


@dataclass(frozen=True, slots=True)
class DagParam:
    """A param of a DAG: its default, and its JSON schema."""

    default: Any
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class GroupTasks:
    """What one group of tasks says about itself. Fields that are templates are still templates.

    It is compared by identity: of each version of a DAG the catalog makes it once.
    """

    dag_id: str
    group_id: str
    direction: Literal["apply", "rollback"]
    plan_task_id: str
    steps: tuple[StepTask, ...]
    conn_id: str
    environment: str | None
    mode: str
    to: str | None
    rollback_script: str | None = None
    """Of a rollback: which script is run where ledger and folder have different ones."""
    environments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Environment -> what its settings say that is needed here; "" stands for none."""
    params: Mapping[str, DagParam] = field(default_factory=dict)
    fileloc: str = ""
    """The DAG file, as its processor sees it."""

    @property
    def folder(self) -> Path | None:
        """Where the migrations were when the DAG file was parsed; None: it does not say."""
        told = self.settings(None).get("folder")
        return Path(self.fileloc).resolve().parent / told if told and self.fileloc else None

    @property
    def hides_sql(self) -> bool:
        """Whether the config forbids that scripts are shown."""
        return self.settings(None).get("include_sql") is False

    @property
    def is_mapped(self) -> bool:
        """Whether it stands in a mapped task group that gives it its target: one group, many databases."""
        return any(_MAPPED in (field or "") for field in (self.conn_id, self.environment))

    @property
    def prefix(self) -> str:
        """What the ids of the group's tasks begin with."""
        return self.plan_task_id.removesuffix("plan")

    @property
    def report_task_id(self) -> str:
        return f"{self.prefix}report"

    def settings(self, environment: str | None) -> Mapping[str, Any]:
        """What the settings of an environment say; empty: the plan task was not made by a task group."""
        return self.environments.get(environment or "") or self.environments.get("") or {}

    def chosen_by(self, template: str | None) -> str | None:
        """The key of a run's conf that decides a field; None: no run can decide it."""
        found = _TEMPLATE.fullmatch((template or "").strip())
        return _key(found) if found else None

    def keys_in(self, template: str | None) -> set[str]:
        """The keys of a run's conf that a field refers to."""
        return {_key(found) for found in _TEMPLATE.finditer(template or "")}

    def with_conf(self, template: str | None, conf: Mapping[str, Any]) -> str | None:
        """A field as it is for a run with this conf; None where only Airflow itself could tell."""
        if template is None:
            return None
        given = {name: param.default for name, param in self.params.items()} | dict(conf)
        text = _TEMPLATE.sub(lambda found: str(given.get(_key(found), "{{")), template)
        return None if is_template(text) else text


def is_template(field: str | None) -> bool:
    """Whether only a run can tell what a field stands for."""
    return any(sign in (field or "") for sign in ("{{", "{%", _MAPPED))


def _key(found: re.Match[str]) -> str:
    return next(group for group in found.groups() if group is not None)


class Catalog:
    """The groups of every DAG. A serialized DAG is looked through once per version of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[Any, tuple[GroupTasks, ...]]] = {}

    def groups(self, session: Session) -> dict[str, tuple[GroupTasks, ...]]:
        """DAG id -> its groups, for the DAGs that hold any."""
        stamps = _stamps(session)
        with self._lock:
            self._seen = {dag_id: seen for dag_id, seen in self._seen.items() if dag_id in stamps}
            new = [dag_id for dag_id, stamp in stamps.items() if self._seen.get(dag_id, (None,))[0] != stamp]
            for start in range(0, len(new), _BATCH):
                part = new[start : start + _BATCH]
                for dag_id, data in _load(session, {d: stamps[d][0] for d in part}):
                    self._seen[dag_id] = (stamps[dag_id], tuple(groups_of(dag_id, data)))
            return {dag_id: groups for dag_id, (_, groups) in self._seen.items() if groups}


def _stamps(session: Session) -> dict[str, tuple[Any, str]]:
    """DAG id -> row and hash of its newest version."""
    from airflow.models.dag_version import DagVersion
    from airflow.models.serialized_dag import SerializedDagModel
    from sqlalchemy import func, select

    newest = (
        select(DagVersion.dag_id, func.max(DagVersion.version_number).label("number"))
        .join(SerializedDagModel, SerializedDagModel.dag_version_id == DagVersion.id)
        .group_by(DagVersion.dag_id)
        .subquery()
    )
    query = (
        select(SerializedDagModel.dag_id, SerializedDagModel.id, SerializedDagModel.dag_hash)
        .join(DagVersion, SerializedDagModel.dag_version_id == DagVersion.id)
        .join(newest, (newest.c.dag_id == DagVersion.dag_id) & (newest.c.number == DagVersion.version_number))
    )
    return {dag_id: (row_id, dag_hash) for dag_id, row_id, dag_hash in session.execute(query)}


def _load(session: Session, rows: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    from airflow.models.serialized_dag import SerializedDagModel
    from sqlalchemy import select

    found = session.scalars(select(SerializedDagModel).where(SerializedDagModel.id.in_(list(rows.values())))).all()
    for model in found:
        yield model.dag_id, model.data or {}
        session.expunge(model)


# From the serialized form to groups: pure


def groups_of(dag_id: str, data: Mapping[str, Any]) -> Iterator[GroupTasks]:
    """The groups in one serialized DAG."""
    dag = data.get("dag", {})
    tasks = [task["__var"] for task in dag.get("tasks", ()) if isinstance(task.get("__var"), dict)]
    ours = [task for task in tasks if task.get("_task_module") in _MODULES]
    of_dag = {"params": dict(_params(dag.get("params", ()))), "fileloc": str(dag.get("fileloc") or "")}
    plans = [task for task in ours if task.get("task_type") == "PlanMigrationsOperator" and "conn_id" in task]
    applied = {_target(plan) for plan in plans if plan.get("mode") != "dry_run"}
    for plan in plans:
        # A promotion tries each environment before it applies: that is no target of its own.
        if plan.get("mode") != "dry_run" or _target(plan) not in applied:
            yield _group(dag_id, plan, ours, of_dag)


def _target(plan: Mapping[str, Any]) -> tuple[Any, ...]:
    return plan["conn_id"], plan.get("environment"), plan.get("direction")


def _group(
    dag_id: str, plan: Mapping[str, Any], tasks: Iterable[Mapping[str, Any]], of_dag: Mapping[str, Any]
) -> GroupTasks:
    plan_id = str(plan["task_id"])
    prefix = plan_id.rpartition(".")[0]
    mine = [
        t for t in tasks if t.get("task_type") in (*_STEPS, *_HISTORIES) and t["task_id"].rpartition(".")[0] == prefix
    ]
    return GroupTasks(
        dag_id=dag_id,
        group_id=prefix or plan_id,
        direction="rollback" if plan.get("direction") == "rollback" else "apply",
        plan_task_id=plan_id,
        steps=tuple(sorted((step for task in mine for step in _steps_of(task)), key=lambda s: version_key(s.version))),
        conn_id=str(plan["conn_id"]),
        environment=plan.get("environment"),
        mode=str(plan.get("mode", "apply")),
        to=plan.get("to"),
        rollback_script=plan.get("rollback_script") if plan.get("direction") == "rollback" else None,
        environments=_plain(plan.get("environments")) or {},
        **of_dag,
    )


def _steps_of(task: Mapping[str, Any]) -> Iterator[StepTask]:
    task_id, json = task["task_id"], task.get("doc_json")
    if task["task_type"] in _HISTORIES:
        for version, doc in HistoryDoc.from_json(json).items():
            yield StepTask(version, task_id, doc.script.checksum if doc.script else "", doc)
    else:
        yield StepTask(str(task["version"]), task_id, str(task.get("checksum") or ""), MigrationDoc.from_json(json))


def _params(pairs: Iterable[Any]) -> Iterator[tuple[str, DagParam]]:
    for name, param in pairs:
        yield name, DagParam(_plain(param.get("default")), _plain(param.get("schema")) or {})


def _plain(value: Any) -> Any:
    """A value without the wrappers that Airflow's serialization puts around dicts, tuples and sets."""
    if isinstance(value, dict):
        if set(value) == {"__type", "__var"}:
            return _plain(value["__var"])
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
