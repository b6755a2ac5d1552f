"""A small server that stands in for Airflow's: the page's files as they are, and one world's answers.

`python -m tests.page.stub` serves the usual world for whoever works on the page.
"""

from __future__ import annotations

import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BaseModel

from airflow_provider_wmigrate.web import static_files

from .worlds import DAG, World, make_world

STATIC = Path(__file__).resolve().parents[2] / "airflow_provider_wmigrate" / "web" / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
OUTER = """<!doctype html><html class="{theme}"><head><title>Airflow</title></head><body>
<iframe id="frame" sandbox="allow-scripts allow-same-origin allow-forms allow-downloads"
 src="/base/wmigrate/{hash}" width="100%" height="900"></iframe></body></html>"""


class StubServer:
    """Serves below /base, as Airflow does behind a proxy with a path of its own. `world` may be changed at any time.

    :param slow: seconds. The API answers each call late, by a random part of them from a third on.
    """

    def __init__(self, world: World, slow: float = 0) -> None:
        self.world = world
        self.slow = slow
        self.requests: list[str] = []
        server = self

        class Handler(_Handler):
            stub = server

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self._http.server_port}"
        self.url = f"{self.root}/base/wmigrate/"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    stub: StubServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.stub.requests.append(self.path)
        if parts.path == "/outer":
            return self._send(
                200,
                "text/html",
                OUTER.format(theme=query.get("theme", "light"), hash=unquote(query.get("hash", ""))).encode(),
                policy=None,
            )
        path = parts.path.removeprefix("/base/")
        if path == "wmigrate/":
            return self._send(200, "text/html", static_files.page().encode())
        if path.startswith("wmigrate/static/"):
            return self._file(static_files.without_tag(path.removeprefix("wmigrate/static/"))[1])
        self._be_late()
        if path.startswith("api/v2/"):
            return self._airflow(path)
        if path.startswith("wmigrate/api/v1/"):
            return self._api([unquote(part) for part in path.removeprefix("wmigrate/api/v1/").split("/")], query)
        return self._send(200, "text/html", f"<title>Airflow</title><h1>{path.split('/')[0]}</h1>".encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        assert self.headers["Content-Type"] == "application/json"
        self._be_late()
        world = self.stub.world
        if world.denied:
            return self._problem(world.denied)
        asked = {"action": self.path.rsplit("/", 1)[-1], **json.loads(body)}
        if asked.get("note") == "refuse":
            return self._problem(409, "the DAG is paused, so the run would not begin; unpause it first", "dag_paused")
        world.started.append(asked)
        conf = {name: asked[name] for name in ("mode", "to") if name in asked}
        answer = {
            "dag_id": DAG,
            "group_id": "migrate",
            "run_id": "manual__new",
            "state": "queued",
            "conf": conf,
            "message": "a run was started",
            "url": f"dags/{DAG}/runs/manual__new",
        }
        return self._json(answer, 201)

    def _be_late(self) -> None:
        time.sleep(random.uniform(self.stub.slow / 3, self.stub.slow))

    def _api(self, parts: list[str], query: dict[str, str]) -> None:
        world = self.stub.world
        if "map_index" in query:
            world = world.one or world
        if world.denied:
            return self._problem(world.denied)
        match parts:
            case ["groups"]:
                return self._json(
                    {
                        "caller": "admin",
                        "groups": [g.model_dump(mode="json") for g in world.groups],
                        "total_entries": len(world.groups),
                    }
                )
            case ["dags", _, "groups", _, "plan"]:
                return self._json(self._plan(world, query.get("to"), query.get("environment")))
            case ["dags", _, "groups", _, "audit"]:
                rows = [
                    r
                    for r in world.audit.rows
                    if query.get("event") in (None, r.event) and query.get("version") in (None, r.version)
                ]
                return self._json(world.audit.model_copy(update={"rows": rows, "total_entries": len(rows)}))
            case ["dags", _, "groups", _, "status"] if query.get("environment") == "production":
                return self._json(self._status_of_production(world))
            case ["dags", _, "groups", _, "history"] if "before" in query:
                return self._json(world.older)
            case ["dags", _, "groups", _, ("status" | "health" | "history" | "metrics") as what]:
                return self._json(getattr(world, what))
            case ["dags", _, "groups", _, "migrations", version]:
                rest = {"sql": world.rest[int(query["from_line"])]} if "from_line" in query else {}
                return self._json(world.detail(version).model_copy(update=rest))
        return self._problem(404, "no such route", "not_found")

    def _plan(self, world: World, to: str | None, environment: str | None) -> BaseModel:
        steps = [step for step in world.plan.steps if to is None or int(step.version) <= int(to)]
        if environment == "production":  # another database, which is one migration ahead
            there = world.plan.group.model_copy(update={"conn_id": "production_db", "environment": environment})
            return world.plan.model_copy(update={"group": there, "steps": steps[1:]})
        return world.plan.model_copy(update={"steps": steps})

    def _airflow(self, path: str) -> None:
        states = self.stub.world.run_states
        state = states.pop(0) if len(states) > 1 and "taskInstances" not in path else states[0]
        if "taskInstances" in path:
            busy = [("migrate.017_currency_rates", "running")]
            if self.stub.world.asking:
                busy = [(self.stub.world.asking, "awaiting_input")]
            tasks = [{"task_id": task, "map_index": -1, "state": what} for task, what in busy if state == "running"]
            return self._json({"task_instances": tasks, "total_entries": self.stub.world.tasks_done})
        return self._json({"dag_run_id": "manual__new", "state": state})

    def _file(self, name: str) -> None:
        file = STATIC / name
        if not file.is_file():
            return self._problem(404, "the page has no such file", "not_found")
        return self._send(200, TYPES[file.suffix] + "; charset=utf-8", file.read_bytes(), kept="max-age=31536000")

    def _status_of_production(self, world: World) -> BaseModel:
        there = world.status.group.model_copy(update={"conn_id": "production_db", "environment": "production"})
        known = [one for one in world.status.migrations if int(one.version) <= 14]
        return world.status.model_copy(update={"group": there, "migrations": known})

    def _json(self, value: Any, status: int = 200) -> None:
        text = value.model_dump_json() if isinstance(value, BaseModel) else json.dumps(value)
        self._send(status, "application/json", text.encode())

    def _problem(self, status: int, detail: str = "no right on that DAG", code: str = "forbidden") -> None:
        body = {
            "type": f"urn:wmigrate:problem:{code}",
            "title": "Problem",
            "status": status,
            "detail": detail,
            "code": code,
        }
        self._send(status, "application/problem+json", json.dumps(body).encode())

    def _send(
        self, status: int, kind: str, content: bytes, policy: str | None = POLICY, kept: str = "no-store"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if policy:
            self.send_header("Content-Security-Policy", policy)
        self.send_header("Cache-Control", kept)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Quiet: pytest shows what matters."""


if __name__ == "__main__":
    stub = StubServer(make_world())
    print(stub.url, f"{stub.root}/outer?theme=dark", sep="\n")
    threading.Event().wait()
