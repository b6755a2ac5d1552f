"""What the section `[wmigrate]` of Airflow's configuration says where a DAG says nothing.

Read while DAG files are parsed: a look into a dictionary, no database. The options are described in `provider.py`.
"""

from __future__ import annotations

from airflow.sdk import conf

_SECTION = "wmigrate"


def chosen_environment(named: str | None) -> str | None:
    """The environment that was named, or else the one of the installation; None: none.

    :param named: by the DAG or the run, rendered; empty means that nobody did.
    """
    return given(named) or conf.get(_SECTION, "environment", fallback="") or None


def default_conn_id() -> str | None:
    """The connection of the target where nobody names one."""
    return conf.get(_SECTION, "conn_id", fallback="") or None


def chosen_conn_id(named: str | None) -> str:
    """The connection that was named, or else the one of the installation.

    :raises ValueError: there is neither.
    """
    found = named or default_conn_id()
    if not found:
        raise ValueError("no connection was named: give conn_id, or set it in [wmigrate] of Airflow's configuration")
    return found


def given(field: object) -> str:
    """What a templated field that may be left empty says. `None` is empty too: so a template renders `Param(None)`,
    as the word where the DAG does not render native objects."""
    text = str(field).strip()
    return "" if text == "None" else text


def is_true(field: bool | str) -> bool:
    """A field that is true or false, or a template that became one of the words."""
    return str(field).strip().lower() == "true"


def missing_is_explained() -> bool:
    """Whether a failed task is told which migration took away what it did not find."""
    return bool(conf.getboolean(_SECTION, "explain_missing", fallback=True))


def tasks_find_modules_loaded() -> bool:
    """Whether the scheduler loads, before it forks workers, what tasks would load."""
    return bool(conf.getboolean(_SECTION, "preload", fallback=True))


def page_is_shown() -> bool:
    """Whether Airflow shows the page in its navigation and on each DAG."""
    return bool(conf.getboolean(_SECTION, "page", fallback=True))


def guard_wait_seconds() -> float:
    """How long a load waits for migrations that are at work, where its DAG does not say it."""
    return float(conf.getfloat(_SECTION, "guard_wait_seconds", fallback=600.0))


def has_guarded_tasks() -> bool:
    """Whether tasks are to have a guard without a word in their DAGs."""
    return bool(conf.get(_SECTION, "guarded_tasks", fallback="").strip())


def guarded_tasks() -> dict[str, list[str]]:
    """Connection -> patterns of `dag.task` that are loads on its database.

    :raises AirflowFailException: it is not written like that.
    """
    import json

    from airflow.sdk.exceptions import AirflowFailException

    written = conf.get(_SECTION, "guarded_tasks", fallback="").strip()
    try:
        found = json.loads(written or "{}")
        if all(isinstance(p, list) and all(isinstance(each, str) for each in p) for p in found.values()):
            return dict(found)
    except (ValueError, AttributeError):
        pass
    raise AirflowFailException(
        "guarded_tasks in [wmigrate] cannot be read, so it is not known which tasks are loads; write JSON, such as"
        ' {"warehouse_db": ["sales.*", "nightly.load_*"]}'
    )
