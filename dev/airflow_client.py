"""What the demo and the end-to-end tests ask a running Airflow over its REST API, and how they wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

import httpx

from dev.watchdog import wait_until

FINAL_RUN_STATES = frozenset({"success", "failed"})

Json = Any
TaskStates = dict[str, str]


class AirflowServerError(Exception):
    """Airflow did not do what it was asked; the message is for a person and names the log."""


class ApiError(AirflowServerError):
    """The REST API refused.

    :param status: HTTP status.
    :param said: with what words, decoded if they were JSON.
    """

    def __init__(self, method: str, path: str, status: int, said: Json) -> None:
        super().__init__(f"{method} {path} was answered with {status}: {said}")
        self.status = status


class AirflowClient:
    """One Airflow, as one of its users.

    :param url: without a slash at the end.
    """

    def __init__(self, url: str, *, user: str, password: str) -> None:
        self.url = url
        self.user = user
        self.password = password
        self.since = datetime.now(timezone.utc)
        """What Airflow had read of DAG files before does not count."""
        self._token: str | None = None

    def check(self) -> None:
        """Called while something is waited for; raises when waiting has become pointless."""

    def log_tail(self, component: str) -> str:
        """What is worth reading when waiting for this component was in vain."""
        return f"see the log of its {component}"

    def api(self, method: str, path: str, json: Json = None) -> Json:
        """One call of the REST API, such as ``api("GET", "/api/v2/dags")``; the decoded answer."""
        if self._token is None:
            self.login()
        return self._call(method, path, json, {"Authorization": f"Bearer {self._token}"})

    def wait_dag(self, dag_id: str, seconds: float = 120.0) -> None:
        """Until the DAG has been read; a DAG file that cannot be read ends the waiting."""

        def read() -> bool:
            for error in self.api("GET", "/api/v2/importErrors?limit=100")["import_errors"]:
                if _moment(error["timestamp"]) >= self.since:
                    file, trace = error["filename"], error["stack_trace"].rstrip()
                    raise AirflowServerError(f"Airflow cannot read the DAG file {file}:\n{trace}")
            try:
                dag = self.api("GET", _dag_path(dag_id))
            except ApiError as refused:
                if refused.status == 404:
                    return False
                raise
            parsed = dag.get("last_parsed_time")
            return parsed is not None and _moment(parsed) >= self.since

        if not self.poll(read, seconds):
            raise AirflowServerError(
                f"Airflow found no DAG {dag_id!r} within {seconds:.0f} s: {self.log_tail('dag-processor')}"
            )

    def read_again(self, dag_id: str) -> None:
        """Have the DAG's file read now, instead of when its turn comes."""
        dag = self.api("GET", _dag_path(dag_id))
        self.api("PUT", f"/api/v2/parseDagFile/{quote(dag['file_token'], safe='')}")

    def trigger(self, dag_id: str, conf: Mapping[str, Json] | None = None) -> str:
        """Unpause the DAG and start a run; its id."""
        self.api("PATCH", _dag_path(dag_id), {"is_paused": False})
        run = {"logical_date": None, "conf": dict(conf or {})}
        return str(self.api("POST", f"{_dag_path(dag_id)}/dagRuns", run)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        return str(self.api("GET", _run_path(dag_id, run_id))["state"])

    def fail_unfinished_runs(self, dag_id: str) -> list[str]:
        """Mark as failed what an earlier, killed server left unfinished: with ``max_active_runs=1`` a new run
        would wait for it for ever. Their ids."""
        answer = self.api("GET", f"{_dag_path(dag_id)}/dagRuns?state=running&state=queued&limit=100")
        unfinished = [run["dag_run_id"] for run in answer["dag_runs"]]
        for run_id in unfinished:
            self.api("PATCH", _run_path(dag_id, run_id), {"state": "failed"})
        return unfinished

    def wait_run(
        self, dag_id: str, run_id: str, seconds: float = 600.0, on_change: Callable[[str, str], None] | None = None
    ) -> str:
        """Until the run has ended; its state.

        :param on_change: called with a task's name (and map index, if it has one) and its new state.
        """
        seen: TaskStates = {}

        def ended() -> bool:
            state = self.run_state(dag_id, run_id)
            for task, task_state in self.task_states(dag_id, run_id).items() if on_change else ():
                if on_change and seen.get(task) != task_state:
                    seen[task] = task_state
                    on_change(task, task_state)
            return state in FINAL_RUN_STATES

        if not self.poll(ended, seconds):
            late = f"the run {run_id} of {dag_id} did not end within {seconds:.0f} s"
            raise AirflowServerError(f"{late}: {self.log_tail('scheduler')}")
        return self.run_state(dag_id, run_id)

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Json]]:
        """As the API describes them, of all tasks, however many pages that takes."""
        found: list[dict[str, Json]] = []
        while True:
            answer = self.api("GET", f"{_run_path(dag_id, run_id)}/taskInstances?limit=100&offset={len(found)}")
            found += answer["task_instances"]
            if not answer["task_instances"] or len(found) >= answer["total_entries"]:
                return found

    def task_states(self, dag_id: str, run_id: str) -> TaskStates:
        """Task id (``id[0]`` for a mapped one) -> state, ``none`` for one not yet scheduled."""
        return {
            task["task_id"] + (f"[{task['map_index']}]" if task["map_index"] >= 0 else ""): task["state"] or "none"
            for task in self.task_instances(dag_id, run_id)
        }

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Json:
        """The value; ``None`` also when there is none."""
        try:
            return self.api("GET", f"{_task_path(dag_id, run_id, task_id)}/xcomEntries/{quote(key, safe='')}")["value"]
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def clear(self, dag_id: str, run_id: str, task_ids: Sequence[str], **options: Json) -> Json:
        """Let tasks run again.

        :param options: of the API's clearTaskInstances, such as ``include_downstream=True``.
        """
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "only_failed": False,
            "reset_dag_runs": True,
            **options,
        }
        return self.api("POST", f"{_dag_path(dag_id)}/clearTaskInstances", body)

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> Json:
        """As a person who marks a task in the UI."""
        return self.api("PATCH", _task_path(dag_id, run_id, task_id), {"new_state": state})

    def request_of(self, dag_id: str, run_id: str, task_id: str) -> Json:
        """What a task asks a person, once it waits for the answer."""
        return self.api("GET", f"{_task_path(dag_id, run_id, task_id)}/-1/hitlDetails")

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str) -> Json:
        """As a person does on the page of required actions."""
        given = {"chosen_options": [option], "params_input": {}}
        return self.api("PATCH", f"{_task_path(dag_id, run_id, task_id)}/-1/hitlDetails", given)

    def login(self) -> None:
        login = {"username": self.user, "password": self.password}
        self._token = self._call("POST", "/auth/token", login)["access_token"]

    def poll(self, done: Callable[[], bool], seconds: float) -> bool:
        """Ask twice a second; whether the answer was yes within the time."""

        def asked() -> bool:
            self.check()
            return done()

        return wait_until(asked, seconds, 0.5)

    def health(self) -> dict[str, Json]:
        """Empty while the API does not answer yet."""
        try:
            answer: dict[str, Json] = self._call("GET", "/api/v2/monitor/health")
        except (httpx.TransportError, ApiError):
            return {}
        return answer

    def _call(self, method: str, path: str, body: Json = None, headers: Mapping[str, str] | None = None) -> Json:
        """A connection of its own: the server may be another one by the next call."""
        with httpx.Client(trust_env=False, verify=False, timeout=60) as client:
            answer = client.request(method, self.url + path, json=body, headers=headers)
        try:
            said = answer.json() if answer.content else None
        except ValueError:
            said = answer.text
        if answer.is_error:
            raise ApiError(method, path, answer.status_code, said)
        return said


def _dag_path(dag_id: str) -> str:
    return f"/api/v2/dags/{quote(dag_id, safe='')}"


def _run_path(dag_id: str, run_id: str) -> str:
    return f"{_dag_path(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _task_path(dag_id: str, run_id: str, task_id: str) -> str:
    return f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}"


def _moment(text: str) -> datetime:
    """Python 3.10 does not read the Z."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
