"""Where a DAG stands: beside which file its folder is, and in whose process it is read."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from airflow.sdk import get_parsing_context

if TYPE_CHECKING:
    from airflow.sdk import DAG

_DAG_MODULE = "unusual_prefix_"
"""How Airflow begins the names of the modules it makes of DAG files (airflow.utils.file.get_unique_dag_module_name)."""


def folder_beside(folder: str | Path, otherwise: str | None) -> Path:
    """The folder as an absolute path.

    Where a library makes the DAG, `dag.fileloc` is the library's file as long as the DAG file is being read, and the
    DAG file itself only afterwards: two folders for one name. So the DAG file is looked for among the callers.

    :param folder: a relative one is relative to the DAG file.
    :param otherwise: the file that counts where no DAG file is being read, such as `dag.fileloc`; None: there is none.
    :raises ValueError: it is relative and there is no DAG file, or the DAG file is in a zip archive.
    """
    path = folder if isinstance(folder, Path) else Path(folder)
    if path.is_absolute():
        return path
    file = _dag_file() or otherwise
    if file is None:
        raise ValueError(f"the folder {folder} is relative to a DAG file, and there is none here: give it in full")
    beside = Path(file).absolute().parent
    if not beside.is_dir():
        raise ValueError(
            f"{file} is in an archive, and a folder of migrations cannot be read from there:"
            f" put {folder} outside the archive and give it in full"
        )
    return (beside / path).resolve()


def as_seen_from_dag_file(folder: Path, otherwise: str | None) -> str | None:
    """The way from the DAG file to the folder, which is the same on machines that keep both elsewhere.

    A full path is no part of a DAG: a bundle has another one for each of its versions.

    :param folder: a full path.
    :param otherwise: as for `folder_beside`.
    :returns: None where they have no directory in common.
    """
    file = _dag_file() or otherwise
    if file is None:
        return None
    beside, folder = Path(file).resolve().parent, folder.resolve()
    together = os.path.commonpath([beside, folder]) != folder.anchor
    return os.path.relpath(folder, beside) if together else None


def file_of(dag: DAG | None) -> str | None:
    """What a DAG says of its file; None: the task is in no DAG yet."""
    return None if dag is None else dag.fileloc


def _dag_file() -> str | None:
    """The DAG file that Airflow is reading now, whoever it has called since."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file, name = str(frame.f_globals.get("__file__", "")), frame.f_globals.get("__name__", "")
        if frame.f_code.co_name == "<module>" and (name.startswith(_DAG_MODULE) or _in_archive(file)):
            return file
        frame = frame.f_back
    return None


def _in_archive(file: str) -> bool:
    """Whether Python reads it from a zip archive, whose DAG files have no names of their own kind."""
    return ".zip" in file and not Path(file).exists()


def task_of_this_process() -> str | None:
    """Id of the task whose process this is; None: the DAG file is read for all.

    Airflow's context alone does not say it: its variables are inherited by whatever a task starts, were it
    `airflow dags reserialize`.
    """
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    return get_parsing_context().task_id if hasattr(runner, "SUPERVISOR_COMMS") else None
