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


def page_is_shown() -> bool:
    """Whether Airflow shows the page in its navigation and on each DAG."""
    return bool(conf.getboolean(_SECTION, "page", fallback=True))
