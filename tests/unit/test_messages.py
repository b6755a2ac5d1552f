"""What an alert says, which kind an error is, and how any notifier comes to say it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_wmigrate.alerting.messages import (
    KINDS,
    Alert,
    as_data,
    engine_error,
    from_data,
    kind_of,
    links,
    send,
    send_by_all,
    where,
)
from airflow_provider_wmigrate.engine.errors import (
    ConnectionFailed,
    LockTimeout,
    RollbackFailed,
    StatementFailed,
    TimedOut,
    WMigrateError,
)

ALERT = Alert(
    "migration_failed",
    "002_a on <db>",
    "1 < 2 & so on",
    (("target", "<db>"), ("DAG", "d")),
    "fix it & go on",
    (("log", "http://a/?b=1&c=2"),),
)


def test_an_alert_in_lines() -> None:
    assert ALERT.title == "[wmigrate] migration failed: 002_a on <db>"
    assert ALERT.text.splitlines() == [
        "[wmigrate] migration failed: 002_a on <db>",
        "",
        "1 < 2 & so on",
        "",
        "target: <db>",
        "DAG: d",
        "next: fix it & go on",
        "log: http://a/?b=1&c=2",
    ]


def test_an_alert_for_mail() -> None:
    assert ALERT.html == (
        "<h3>[wmigrate] migration failed: 002_a on &lt;db&gt;</h3><p>1 &lt; 2 &amp; so on</p><table>"
        "<tr><th align='left'>target</th><td>&lt;db&gt;</td></tr><tr><th align='left'>DAG</th><td>d</td></tr>"
        "<tr><th align='left'>next</th><td>fix it &amp; go on</td></tr>"
        "<tr><th align='left'>log</th>"
        '<td><a href="http://a/?b=1&amp;c=2">http://a/?b=1&amp;c=2</a></td></tr></table>'
    )


def test_an_alert_with_nothing_to_do_next() -> None:
    bare = Alert("healed", "d", "over")
    assert bare.text == "[wmigrate] healed: d\n\nover\n"
    assert bare.html == "<h3>[wmigrate] healed: d</h3><p>over</p><table></table>"


def test_every_kind_has_a_title_and_a_next_step() -> None:
    assert {name: (kind.title, kind.switch) for name, kind in KINDS.items()} == {
        "migration_failed": ("migration failed", "migration_failure"),
        "migration_timed_out": ("migration timed out", "migration_timeout"),
        "connection_lost": ("no connection to the target", "database_connection_failure"),
        "rollback_failed": ("rollback failed", "rollback_failure"),
        "deadline_missed": ("deadline missed", "migration_timeout"),
        "unhealthy": ("target unhealthy", None),
        "task_failed": ("task failed", None),
        "healed": ("healed", None),
    }
    assert all(kind.next_step for kind in KINDS.values())


def failed(sqlstate: str | None, *, retryable: bool = False) -> StatementFailed:
    return StatementFailed("001", "001_a.sql", "no", outcome="", sqlstate=sqlstate, retryable=retryable)


AirflowTaskTimeout = type("AirflowTaskTimeout", (BaseException,), {})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (None, "migration_failed"),
        (ValueError("x"), "migration_failed"),
        (WMigrateError("x"), "migration_failed"),
        (failed("42601"), "migration_failed"),
        (failed("57P04"), "migration_failed"),
        (failed(None), "migration_failed"),
        (failed(None, retryable=True), "connection_lost"),
        *[(failed(code), "connection_lost") for code in ("08006", "57P01", "57P02", "57P03")],
        (ConnectionFailed("x"), "connection_lost"),
        (RollbackFailed("001", failed("08006")), "rollback_failed"),
        (LockTimeout("x", 1, outcome=""), "migration_timed_out"),
        (TimedOut("001", "001_a.sql", "x", outcome="", sqlstate="57014"), "migration_timed_out"),
        (AirflowTaskTimeout(), "migration_timed_out"),
    ],
)
def test_kinds(error: BaseException | None, kind: str) -> None:
    assert kind_of(error) == kind


def chained(outer: BaseException, *, cause: BaseException | None = None, context: BaseException | None = None) -> Any:
    outer.__cause__, outer.__context__ = cause, context
    return outer


def test_the_engines_error_behind_airflows() -> None:
    ours, other = WMigrateError("ours"), ValueError("other")
    assert engine_error(None) is None
    assert engine_error(ours) is ours
    assert engine_error(other) is other
    assert engine_error(chained(ValueError(), cause=ours)) is ours
    assert engine_error(chained(ValueError(), context=chained(ValueError(), cause=ours))) is ours
    assert engine_error(chained(ValueError(), cause=ours, context=other)) is ours
    one, two = ValueError("one"), ValueError("two")
    chained(one, cause=two)
    chained(two, cause=one)
    assert engine_error(one) is one, "a circle ends"


class Heard:
    """What is needed of an Airflow notifier."""

    template_fields = ("subject", "text", "unknown", "body", "message")

    def __init__(
        self, *, text: str = "left as it is", subject: str | None = None, body: str = "", at: object = None
    ) -> None:
        self.text, self.subject, self.body, self.at = text, subject, body, at
        self.unknown = ""
        self.heard: list[tuple[dict[str, Any], Any]] = []

    def __call__(self, context: Any) -> None:
        self.heard.append((dict(vars(self)), context))


def test_what_was_left_empty_says_the_alert() -> None:
    notifier = Heard(body="mine")
    send(notifier, {"a": 1}, ALERT)  # type: ignore[arg-type, typeddict-unknown-key]
    ((said, context),) = notifier.heard
    assert (notifier.text, notifier.subject) == ("left as it is", None), "a copy speaks"
    del said["heard"]
    assert said == {
        "text": "{{ wmigrate_alert.text }}",
        "subject": "{{ wmigrate_alert.title }}",
        "body": "mine",
        "unknown": "",
        "at": None,
        "message": "{{ wmigrate_alert.text }}",
    }
    assert context == {"a": 1, "wmigrate_alert": ALERT}


def test_what_was_emptied_says_the_alert_too() -> None:
    notifier = Heard(text="")
    send(notifier, {}, ALERT)  # type: ignore[arg-type, typeddict-item]
    assert notifier.heard[0][0]["text"] == "{{ wmigrate_alert.text }}"


def test_every_field_that_is_filled_in() -> None:
    fields = ("title", "html_content", "message", "content", "description", "text", "body", "subject")
    notifier = type("All", (Heard,), {"template_fields": fields})()
    send(notifier, {}, ALERT)  # type: ignore[arg-type, typeddict-item]
    ((said, _),) = notifier.heard
    assert {name: said[name] for name in fields} == {
        **{name: "{{ wmigrate_alert.text }}" for name in ("message", "content", "description", "text", "body")},
        "title": "{{ wmigrate_alert.title }}",
        "subject": "{{ wmigrate_alert.title }}",
        "html_content": "{{ wmigrate_alert.html }}",
    }


def test_a_notifier_as_data() -> None:
    data = as_data(Heard(subject="mine", body=""))  # type: ignore[arg-type]
    assert data == {
        "path": f"{__name__}.Heard",
        "arguments": {"text": "left as it is", "subject": "mine", "body": ""},
    }
    again = from_data(data)
    assert type(again) is Heard
    assert (again.text, again.subject, again.at) == ("left as it is", "mine", None)


def test_one_that_fails_keeps_no_other_from_telling(caplog: pytest.LogCaptureFixture) -> None:
    class Mute(Heard):
        def __call__(self, context: Any) -> None:
            raise ConnectionError("no mail today")

    last = Heard()
    assert send_by_all([Mute(), last], {}, ALERT) == ["Mute: ConnectionError"]  # type: ignore[list-item, typeddict-item]
    assert [context for _, context in last.heard] == [{"wmigrate_alert": ALERT}]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", f"Mute could not tell {ALERT.title!r}: no mail today")
    ]


class Contextual:
    """Airflow's notifiers keep the context of the last call."""

    def __init__(self, to: str, context: Any = None, **kwargs: Any) -> None:
        self.to, self.context, self.kwargs = to, context, kwargs


def test_a_notifiers_context_is_none_of_its_data() -> None:
    assert as_data(Contextual("ann", {"ti": 1}, more=2))["arguments"] == {"to": "ann"}  # type: ignore[arg-type]


def test_a_notifier_that_is_no_data() -> None:
    with pytest.raises(ValueError, match="Heard") as refused:
        as_data(Heard(at=object()))  # type: ignore[arg-type]
    assert str(refused.value) == "Heard cannot tell a missed deadline: its arguments must be plain values"


def context(**ti: Any) -> Any:
    return {"ti": SimpleNamespace(dag_id="d", run_id="r", task_id="g.t", **ti)}


def test_where() -> None:
    assert where(context(try_number=2), "db", ("migration", "002_a"), ("failed task", "g.u")) == (
        ("target", "db"),
        ("migration", "002_a"),
        ("failed task", "g.u"),
        ("DAG", "d"),
        ("run", "r"),
        ("task", "g.t, try 2"),
    )
    assert where(context(), "db")[-1] == ("task", "g.t, try 0")


RUN = "http://air/dags/d/runs/r"


@pytest.mark.parametrize(
    ("url", "task_id", "log"),
    [
        (f"{RUN}/tasks/g.t?try_number=1", None, f"{RUN}/tasks/g.t?try_number=1"),
        (f"{RUN}/tasks/g.t?try_number=1", "g.u", f"{RUN}/tasks/g.u"),
        (f"{RUN}/tasks/g.t/mapped/3?try_number=1", "g.u", f"{RUN}/tasks/g.u/mapped/3"),
        (f"{RUN}/tasks/g.t/mapped/3?try_number=1", None, f"{RUN}/tasks/g.t/mapped/3?try_number=1"),
    ],
)
def test_links(url: str, task_id: str | None, log: str) -> None:
    assert links(context(log_url=url), task_id) == (("log", log), ("run page", RUN))


def test_no_links() -> None:
    assert links(context()) == links(context(log_url=None)) == links(context(log_url=""), "g.u") == ()
