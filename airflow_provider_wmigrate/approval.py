"""A person between the plan and the migrations: what is asked, who may answer, and what the answer leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, DownstreamTasksSkipped, TaskAwaitingInput

from .attempts import of_this_index, plan_of, proposal_of, pulled
from .folder_operator import FolderOperator
from .links import page_address
from .task_docs import HIDDEN, ShownScript, fenced
from .telling.summaries import APPLY, IN_WINDOW, NO_ANSWER, REJECT, answer_line

if TYPE_CHECKING:
    from .engine.plan.proposal import Proposal

SQL_SHOWN = 20_000
"""Characters of all scripts together that a request shows."""

_STARTED_BY_NOBODY = ("scheduled", "asset_triggered")
"""Types of runs that no person starts, so that whoever answers is another one."""


@dataclass(frozen=True, slots=True)
class Approval:
    """Who has to approve the plan of a run before anything is applied.

    :param assigned_users: who may answer, by id as Airflow's auth manager has it. Empty: whoever may answer requests of
        the DAG.
    :param four_eyes: whoever started the run may not approve it. A run that nobody started, because it was scheduled,
        may be approved by anybody; one of which nobody knows who started it is not asked for.
    :param timeout: how long an answer is waited for; without one, the plan counts as rejected. None: as long as it
        takes.
    :param notifiers: Airflow notifiers that tell people of the request.
    """

    assigned_users: Sequence[str] = ()
    four_eyes: bool = True
    timeout: timedelta | None = None
    notifiers: Sequence[Any] = ()

    def __post_init__(self) -> None:
        """:raises ValueError: nobody could answer, or nobody knows how long an answer is waited for."""
        if isinstance(self.assigned_users, str) or not all(isinstance(user, str) for user in self.assigned_users):
            raise ValueError(f'assigned_users must be a list of ids such as ["bob"], not {self.assigned_users!r}')
        if self.timeout is not None and not (isinstance(self.timeout, timedelta) and self.timeout > timedelta()):
            raise ValueError(f"timeout must be a timedelta such as timedelta(hours=8), not {self.timeout!r}")


class ApproveMigrationsOperator(FolderOperator, HITLOperator):  # type: ignore[misc] # both have notifiers
    """Ask a person whether the plan is to be applied, and wait in the state `awaiting_input` without a process.

    What is approved is bound: the migrations refuse to run if a script, the config, the ledger or the schema is not
    what it was when the plan was made. The answer goes to the audit log. If it is no, or none comes in time, all that
    is behind it is skipped, and the report fails.

    :param plan_task_id: id of the plan task of the same run.
    :param behind: ids of the tasks that a rejection skips.
    :param approval: who has to approve it.
    """

    template_fields: Sequence[str] = FolderOperator.template_fields

    def __init__(self, *, plan_task_id: str, behind: Sequence[str], approval: Approval, **kwargs: Any) -> None:
        if not isinstance(approval, Approval):
            raise ValueError(f"approval must be an Approval such as Approval(), not {approval!r}")
        super().__init__(
            subject="Apply the plan?",
            options=[APPLY, REJECT],
            assigned_users=[{"id": user, "name": user} for user in approval.assigned_users],
            response_timeout=approval.timeout,
            execution_timeout=None,  # of a migration; here it would end the waiting
            **kwargs,
        )
        self.plan_task_id = plan_task_id
        self.behind = list(behind)
        self.approval = approval

    def act(self, context: Any) -> NoReturn:
        if self._dry_run():
            raise AirflowSkipException("a dry run changes nothing, so nobody is asked")
        plan = plan_of(context, self.plan_task_id)
        if not plan["steps"]:
            raise AirflowSkipException("nothing is to be applied, so nobody is asked")
        proposal = proposal_of(context, self.plan_task_id)
        self._starter(context)
        if self.settings().window.open:
            self.options = [APPLY, IN_WINDOW, REJECT]
        count = len(proposal.steps)
        self.subject = f"Apply {count} migration{'s' if count > 1 else ''} to {self.conn_id}?"
        self.body = self._request(context, proposal)
        self._ask(context, proposal.digest)

    def _ask(self, context: Any, digest: str) -> NoReturn:
        from airflow.sdk.api.datamodels._generated import HITLUser
        from airflow.sdk.execution_time import task_runner
        from airflow.sdk.execution_time.comms import CreateHITLDetailPayload

        users = [HITLUser(**user) for user in self.assigned_users or ()]
        request: dict[str, Any] = {
            "options": self.options,
            "subject": self.subject,
            "body": self.body,
            "assigned_users": users,
        }
        payload = CreateHITLDetailPayload(ti_id=context["ti"].id, params={}, multiple=False, **request)
        there = task_runner.SUPERVISOR_COMMS.send(payload)
        # Airflow keeps the text of a request when its task is cleared, so a person would see the plan of before.
        if any(getattr(there, name) != wanted for name, wanted in request.items()):
            raise AirflowFailException(
                f"the plan was made anew, but Airflow goes on showing what {self.task_id} had asked before in this run;"
                " trigger a new run"
            )
        for notifier in self.approval.notifiers:
            notifier(context)
        self.log.info("waiting for an answer to the request, which shows the plan %s", digest)
        raise TaskAwaitingInput(
            method_name="execute_complete", kwargs={"digest": digest}, timeout=self.response_timeout
        )

    def execute_complete(self, context: Any, event: dict[str, Any], digest: str = "") -> Any:
        """Airflow's way in when there is an answer, or the time is over.

        :param digest: of what the request has shown.
        """
        return self._in_airflow(context, lambda _: self._answered(context, event, digest))

    def _answered(self, context: Any, event: Mapping[str, Any], digest: str) -> dict[str, Any]:
        proposal = proposal_of(context, self.plan_task_id)
        if proposal.digest != digest:
            raise AirflowFailException(
                f"{self.plan_task_id} has made another plan since the request was shown; trigger a new run"
            )
        answer = self._answer(context, event)
        self._record(context, answer, proposal)
        result = {**answer, "digest": digest}
        self.log.info("%s: the plan %s", answer_line(answer), digest)
        if answer["answer"] in (APPLY, IN_WINDOW):
            return result
        context["ti"].xcom_push(key="return_value", value=result)
        raise DownstreamTasksSkipped(tasks=of_this_index(context, self.behind))

    def _answer(self, context: Any, event: Mapping[str, Any]) -> dict[str, Any]:
        """Answer, user and time as plain values.

        :raises AirflowFailException: nobody knows who approves it, or it is who started the run.
        """
        if "error" in event:
            if event["error_type"] != "timeout":
                self.process_trigger_event_error(dict(event))
            return {"answer": NO_ANSWER, "user": None, "at": datetime.now(timezone.utc).isoformat()}
        chosen, user = list(event["chosen_options"]), event["responded_by_user"]
        again = f"clear {self.task_id} with its downstream to ask again"
        if not user or len(chosen) != 1 or chosen[0] not in (APPLY, IN_WINDOW, REJECT):
            raise AirflowFailException(f"the answer does not say who gave it, or is none; {again}")
        starter = self._starter(context)
        if chosen != [REJECT] and starter in (user["id"], user["name"]):
            raise AirflowFailException(f"{starter} has started this run, so somebody else has to approve it; {again}")
        at = event["responded_at"].astimezone(timezone.utc).isoformat()
        return {"answer": chosen[0], "user": {"id": user["id"], "name": user["name"]}, "at": at}

    def _starter(self, context: Any) -> str | None:
        """Who may not approve the run.

        :raises AirflowFailException: a person has started it, and nobody knows who.
        """
        if not self.approval.four_eyes:
            return None
        run = context["dag_run"]
        name, kind = run.triggering_user_name, getattr(run.run_type, "value", run.run_type)
        if not name and kind not in _STARTED_BY_NOBODY:
            raise AirflowFailException(
                f"nobody knows who has started this run ({kind}), so nobody can say whether another person approves it;"
                " trigger it in the UI or by the REST API, or give Approval(four_eyes=False)"
            )
        return name or None

    def _record(self, context: Any, answer: Mapping[str, Any], proposal: Proposal) -> None:
        actor = answer["user"]["name"] if answer["user"] else None
        migrator = self._open(context, self._read_folder(only=()), actor=actor)
        details = {
            **answer,
            "digest": proposal.digest,
            "environment": proposal.environment,
            "head": proposal.head,
            "fingerprint": proposal.fingerprint,
            "steps": {step.version: step.checksum for step in proposal.steps},
        }
        if answer["answer"] in (APPLY, IN_WINDOW):
            migrator.record("approved", details=details)
        else:
            migrator.record("rejected", details=details)

    # What is shown

    def _request(self, context: Any, proposal: Proposal) -> str:
        """Markdown: the plan with its forecast, losses and findings, what is bound, and the scripts."""
        run = context["dag_run"]
        bound = {
            "target": self.conn_id,
            "environment": proposal.environment or "none",
            "started by": run.triggering_user_name or getattr(run.run_type, "value", run.run_type),
            "head of the audit log": proposal.head or "no ledger yet",
            "fingerprint of the schema": proposal.fingerprint,
            "digest": proposal.digest,
        }
        plan = pulled(context, self.plan_task_id, "markdown") or ""
        rows = "\n".join(f"| {name} | `{value}` |" for name, value in bound.items())
        return "\n\n".join([plan, f"| what is approved | |\n| --- | --- |\n{rows}", *self._scripts(context, proposal)])

    def _scripts(self, context: Any, proposal: Proposal) -> list[str]:
        if not self.settings().logging.include_sql:
            return [HIDDEN]
        folder = self._read_folder(only=proposal.versions)
        left, parts = SQL_SHOWN, []
        for step in proposal.steps:
            script = folder.migration(step.version).script
            if script.checksum != step.checksum:
                raise AirflowFailException(f"{script.file} was edited after the plan was made; trigger a new run")
            text = ShownScript(step.file, step.checksum, script.text).masked.text if script.size <= left else None
            if text is None:
                page = self._page(context, step.version)
                parts.append(f"`{step.file}`: {script.size} bytes, [on the page]({page})")
                continue
            left -= len(text)
            parts += [f"`{step.file}`", "\n".join(fenced(text))]
        return parts

    def _page(self, context: Any, version: str) -> str:
        group = self.task_id.rpartition(".")[0] or self.task_id
        return page_address(dag=context["ti"].dag_id, group=group, version=version)
