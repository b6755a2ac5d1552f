"""What ends an attempt: rolling back what it applied, and the report. Both read the target, not the run's memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import AssetAlias
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from msgspec.structs import replace

from .assets import keep_head, known_head, last_event, schema_asset
from .attempts import HEAD_KEY, PLAN_KEY, plan_of, pulled, task_states
from .engine.errors import WMigrateError
from .folder_operator import FolderOperator
from .hooks import TAKES_BACK, MigrationHook, signature
from .table_events import told_tables
from .telling.summaries import NO_ANSWER, REJECT, answer_line, records_of, report_lines, summarise

if TYPE_CHECKING:
    from .engine.migrator import Migrator
    from .engine.reporting import Account, Attempt

_DONE = ("applied", "rolled_back")
"""What leaves a row in the audit log."""


class RollBackRunOperator(FolderOperator):
    """When a migration of this run failed: roll back, in reverse order, what this attempt had applied before.

    Its trigger rule is `all_done`; it skips itself when nothing failed. What it rolls back is read from the ledger,
    so that it is right after retries too; what an earlier attempt of the same run applied stays.

    :param watched: ids of the tasks that apply migrations.
    :param plan_task_id: id of the plan task, with which the attempt begins.
    """

    ui_color = "#f8ece4"
    rolls_back = True
    rollback_script = "ledger"
    """It belongs to what was applied."""
    outside_window = TAKES_BACK

    def __init__(self, *, watched: Sequence[str], plan_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.watched = list(watched)
        self.plan_task_id = plan_task_id

    def act(self, context: Any) -> list[dict[str, Any]]:
        states = task_states(context, self.watched)
        failed = [task_id for task_id, state in states.items() if state == "failed"]
        if not failed:
            raise AirflowSkipException("nothing failed")
        if self._dry_run():
            raise AirflowSkipException("a dry run leaves nothing to roll back")
        attempt = _attempt(context, plan_of(context, self.plan_task_id), self.watched)
        migrator = self._open(context, self._read_folder())
        migrator.needs_backups = False  # what is taken away was just made
        mine = self._begun(attempt, migrator)
        plan = migrator.plan_rollback(to=None)
        steps = [s for s in plan.steps if s.version in mine]
        migrator.refuse_drops_of_others(replace(plan, steps=tuple(steps)))
        self.log.info("%s failed; rolling back %s", ", ".join(failed), ", ".join(s.version for s in steps) or "nothing")
        return [migrator.roll_back(step.version).as_dict() for step in steps]

    def _begun(self, attempt: Attempt, migrator: Migrator) -> set[str]:
        from .engine.reporting import begun_by, read_account

        connect = MigrationHook(self.conn_id).get_conn
        return begun_by(attempt, read_account(connect, migrator.ledger.schema, since=attempt.since))


def _let_others_tell(context: Any) -> None:
    """Airflow has taken this report's event with its success: from here on other reports find it."""
    context["task"].turn.close()


class ReportMigrationsOperator(FolderOperator):
    """Sum up a run, write what application_metadata keeps of it, and tell Airflow that the schema changed.

    Its trigger rule is `all_done`, and it fails when a migration failed: leaf tasks decide a run's state. It fails too
    when a task counts as a success, because a person marked it, and the ledger does not say so.

    :param watched: ids of every task of the group before this one.
    :param plan_task_id: id of the plan task.
    :param tasks: for each version, the id of the task that applies it or rolls it back.
    :param folded: the versions that share one task, `history`.
    :param audit_key_conn_id: id of an Airflow connection whose password is the key with which the head of the audit log
        is signed (templated). None: it is not signed.
    :param backup_task_id: id of the task that makes the run's backup; None: there is none.
    :param approval_task_id: id of the task in which a person approves the plan; None: nobody has to. It fails when that
        person has rejected it, or nobody has answered in time.
    """

    template_fields: Sequence[str] = (*FolderOperator.template_fields, "audit_key_conn_id")

    tells_every_failure = False
    remembers = True
    at_success = (_let_others_tell,)
    turn = ExitStack()
    """Open while other reports on the ledger have to wait: what one has told, the next one must find."""

    def __init__(
        self,
        *,
        watched: Sequence[str],
        plan_task_id: str,
        tasks: Mapping[str, str] | None = None,
        folded: Collection[str] = (),
        audit_key_conn_id: str | None = None,
        backup_task_id: str | None = None,
        approval_task_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.alias = AssetAlias(name=f"wmigrate-{plan_task_id}")
        super().__init__(outlets=[self.alias], **kwargs)
        self.watched = list(watched)
        self.plan_task_id = plan_task_id
        self.tasks = dict(tasks or {})
        self.folded = frozenset(folded)
        self.audit_key_conn_id = audit_key_conn_id
        self.backup_task_id = backup_task_id
        self.approval_task_id = approval_task_id

    def act(self, context: Any) -> dict[str, Any]:
        states = task_states(context, [self.plan_task_id, *self.watched])
        failed = sorted(t for t, state in states.items() if state in ("failed", "upstream_failed"))
        if failed:
            self._fail(context, states, failed)
        plan = plan_of(context, self.plan_task_id, states)
        migrator = self._open(context, self._read_folder(only=()))
        if self._dry_run():
            summary = summarise((), self._records(context, states, plan), plan, ())
            return self._told(context, {**summary, HEAD_KEY: migrator.head()})
        self._refuse_rejected(context, plan, migrator)
        with ExitStack() as turn:
            turn.enter_context(migrator.telling())
            summary = self._tell(context, states, plan, migrator)
            self.turn = turn.pop_all()
        return summary

    def _tell(
        self, context: Any, states: Mapping[str, str | None], plan: dict[str, Any], migrator: Migrator
    ) -> dict[str, Any]:
        answered, event = last_event(self.conn_id, migrator.ledger.schema)
        account = self._account(context, migrator, plan, event)
        mine = _attempt(context, plan, self.watched).rows(account.rows)
        records = self._records(context, states, plan, {r.version for r in mine if r.event in _DONE})
        summary = summarise(mine, records, plan, (), _idle(plan, self.tasks, states, account))
        self._refuse_what_is_not_so(context, plan, states, account, migrator, summary)
        news = _news(context["ti"], account, event, answered=answered)
        reported = {**{name: summary[name] for name in _DONE}, "state": account.state}
        head = self._written(migrator, lambda: migrator.record_success(reported=reported), idle=not plan["steps"])
        _keep(context, self.conn_id, migrator, account, head)
        if plan["direction"] == "apply" and plan["to"] is None:
            from .telling.metrics import send_pending

            done = set(account.applied)
            left = [step for step in plan["steps"] if step["version"] not in done]
            metrics = self._read_folder(only=()).config.monitoring.metrics
            send_pending(metrics, target=self.conn_id, count=len(left))
        signed = self._signed(migrator, account)
        if news:
            extra = {"audit_head": account.head, "ledger": migrator.ledger.schema}
            since = news.pop("since")
            rows = [row for row in account.rows if row.position > since]
            found = told_tables(self.conn_id, rows, news, extra, log=self.log)
            extra = {**news, **extra, "state": account.state, **found.summary}
            events = context["outlet_events"][self.alias]
            events.add(schema_asset(self.conn_id), extra={**extra, **signed})
            for asset, of_one in found.events:
                events.add(asset, extra=of_one)
        approval = {"approval": self._approval(context)} if self.approval_task_id else {}
        return self._told(context, {**summary, **approval, HEAD_KEY: head, **signed})

    def _signed(self, migrator: Migrator, account: Account, *, must: bool = True) -> dict[str, Any]:
        """That of a log that is not the one continued would vouch for what somebody has changed.

        :param must: False of a run that failed: why it did is what a person has to know.
        """
        if not self.audit_key_conn_id or account.broken is not None:
            return {}
        return signature(MigrationHook(self.conn_id), migrator.ledger.schema, self.audit_key_conn_id, must=must)

    # A run in which something failed

    def _fail(self, context: Any, states: Mapping[str, str | None], failed: Sequence[str]) -> NoReturn:
        """What went wrong may be that nobody can reach the target: then Airflow's memory has to do."""
        from .alerting.alerts import tell_unreported

        plan = pulled(context, self.plan_task_id, PLAN_KEY) or {}
        records = self._records(context, states, plan)
        summary = summarise((), records, plan, failed)
        try:
            migrator = self._open(context, self._read_folder(only=()))
            account = self._account(context, migrator, plan, None)
            rows = _attempt(context, plan, self.watched).rows(account.rows) if plan.get(HEAD_KEY) else ()
            summary = {**summarise(rows, records, plan, failed), HEAD_KEY: account.head}
            _keep(context, self.conn_id, migrator, account, account.head)
            summary |= self._signed(migrator, account, must=False)
        except WMigrateError as error:
            self.log.warning("the target cannot be asked what was applied: %s", error)
        context["ti"].xcom_push(key="return_value", value=self._told(context, summary))
        tell_unreported(context, [t for t in self.watched if states.get(t) == "failed"])
        if states.get(self.backup_task_id or "") == "failed":
            raise AirflowFailException(
                f"no backup could be made, so nothing was touched; the log of {self.backup_task_id} says why"
            )
        raise AirflowFailException(f"failed: {', '.join(failed)}; the log of that task says what and what next")

    def _refuse_rejected(self, context: Any, plan: Mapping[str, Any], migrator: Migrator) -> None:
        """Not a success: whoever comes behind the group would rely on what was not applied."""
        answer = self._approval(context)
        if not answer or answer["answer"] not in (REJECT, NO_ANSWER):
            return
        summary = {**summarise((), (), plan, ()), "approval": answer, HEAD_KEY: migrator.head()}
        context["ti"].xcom_push(key="return_value", value=self._told(context, summary))
        again = f"trigger a new run, or clear {self.approval_task_id} with its downstream to ask again"
        raise AirflowFailException(f"{answer_line(answer)}, so nothing was applied; {again}")

    def _approval(self, context: Any) -> dict[str, Any] | None:
        return pulled(context, self.approval_task_id) if self.approval_task_id else None

    # What the target says

    def _account(self, context: Any, migrator: Migrator, plan: Mapping[str, Any], event: Any) -> Account:
        from .engine.reporting import read_account

        schema = migrator.ledger.schema
        connect = MigrationHook(self.conn_id).get_conn
        known = known_head(context, self.conn_id, schema)
        told = _position(event["audit_head"]) if event else None
        return read_account(connect, schema, since=_position(plan.get(HEAD_KEY)), told=told, known_head=known)

    def _refuse_what_is_not_so(
        self,
        context: Any,
        plan: Any,
        states: Mapping[str, str | None],
        account: Account,
        migrator: Migrator,
        summary: dict[str, Any],
    ) -> None:
        steps = {step["version"] for step in plan["steps"]}
        # The success of the one task of several says nothing of those that the plan did not want of it.
        own = {v: task for v, task in self.tasks.items() if v in steps or v not in self.folded}
        found = _not_so({v: task for v, task in own.items() if states.get(task) == "success"}, plan, account)
        if found:
            signed = self._signed(migrator, account, must=False)
            summary = self._told(context, {**summary, HEAD_KEY: account.head, **signed})
            context["ti"].xcom_push(key="return_value", value=summary)
            raise AirflowFailException("; ".join(found))

    # What it leaves

    def _records(
        self, context: Any, states: Mapping[str, str | None], plan: Mapping[str, Any], told: Collection[str | None] = ()
    ) -> list[dict[str, Any]]:
        """What the tasks say they did: of dry runs and of what was done before there is no other trace.

        :param told: versions of this attempt that the audit log has: a request less for each.
        """
        apart = {self.backup_task_id, self.approval_task_id, *self.tasks.values()}
        apart -= {task_id for version, task_id in self.tasks.items() if version not in told}
        mine = [task_id for task_id in self.watched if task_id not in apart]
        # A dry run that did not try a migration has left a record, and is skipped; the plan may have skipped hundreds.
        tried = {self.tasks.get(step["version"]) for step in plan.get("steps", ())} if self._dry_run() else set()
        ran = [t for t in mine if states.get(t) == "success" or (states.get(t) == "skipped" and t in tried)]
        return [record for task_id in ran for record in records_of(pulled(context, task_id))]

    def _told(self, context: Any, summary: dict[str, Any]) -> dict[str, Any]:
        if self.backup_task_id:
            summary = {**summary, "backup": pulled(context, self.backup_task_id)}
        for line in report_lines(summary):
            self.log.info("%s", line)
        if summary[HEAD_KEY]:
            context["ti"].xcom_push(key=HEAD_KEY, value=summary[HEAD_KEY])
        return summary


def _keep(context: Any, conn_id: str, migrator: Migrator, account: Account, head: str | None) -> None:
    """The anchor for the next plan; that of a log that is not the one continued would hide it."""
    if account.broken is None:
        keep_head(context, conn_id, migrator.ledger.schema, head)


def _not_so(claimed: Mapping[str, str], plan: Mapping[str, Any], account: Account) -> list[str]:
    from .engine.reporting import not_so

    since = _position(plan[HEAD_KEY])
    return not_so(claimed, account, [row for row in account.rows if row.position > since], direction=plan["direction"])


def _idle(
    plan: dict[str, Any], tasks: Mapping[str, str], states: Mapping[str, str | None], account: Account
) -> dict[str, str]:
    """The steps that the plan wanted and whose tasks were skipped all the same."""
    wanted = {step["version"]: tasks.get(step["version"], "") for step in plan["steps"]}
    idle = {v: "its task was skipped" for v, task in wanted.items() if states.get(task) in ("skipped", "removed")}
    done = set(account.applied) if plan["direction"] == "apply" else ()
    return {version: why for version, why in idle.items() if version not in done}


def _attempt(context: Any, plan: Mapping[str, Any], task_ids: Sequence[str]) -> Attempt:
    from .engine.reporting import Attempt

    ti = context["ti"]
    return Attempt(ti.dag_id, ti.run_id, frozenset(task_ids), _position(plan[HEAD_KEY]))


def _position(head: str | None) -> int:
    """The position of a head in the audit log; 0: there is none, so that every row counts."""
    from .engine.ledger.trail import position

    return (position(head) or 0) if head else 0


def _news(ti: Any, account: Account, event: Mapping[str, Any] | None, *, answered: bool) -> dict[str, Any] | None:
    """What consumers have not been told: since the asset's last event, or since the last report where Airflow's events
    are cleaned away. None: they know.

    A report that was killed before Airflow took its event has left its row all the same, so this task's own row does
    not count while Airflow answers.
    """
    from .engine.reporting import NOTHING_APPLIED, changes

    told = NOTHING_APPLIED
    since = 0
    row = account.reported
    own = row is not None and (row.dag_id, row.run_id, row.task_id) == (ti.dag_id, ti.run_id, ti.task_id)
    if event is not None:
        told, since = event["state"], _position(event["audit_head"])
    elif row is not None and not (own and answered):
        told, since = row.details["state"], row.position
    if told == account.state:
        return None
    applied, rolled_back = changes([r for r in account.rows if r.position > since], account.applied)
    return {"applied": applied, "rolled_back": rolled_back, "since": since}
