"""What a run of a group can be given, as far as the DAG lets its runs choose. Pure."""

from __future__ import annotations

from airflow_provider_wmigrate.engine.errors import UnknownVersion
from airflow_provider_wmigrate.engine.folder.folder import normalise_version

from . import schemas
from .catalog import GroupTasks
from .problems import ProblemError


def choices(group: GroupTasks, shown: str | None) -> schemas.Choices:
    """What a run of the group can be given.

    :param shown: the environment whose database the caller is shown.
    """
    by = group.chosen_by(group.environment)
    return schemas.Choices(
        to=group.chosen_by(group.to) is not None,
        modes=[mode for mode in ("apply", "dry_run") if mode in modes(group)],
        environments=allowed(group, by) if by else None,
        rollback_script=group.chosen_by(group.rollback_script) is not None,
        environment=shown if by else group.with_conf(group.environment, {}) or None,
    )


def modes(group: GroupTasks) -> list[str]:
    """The modes a run can have."""
    by = group.chosen_by(group.mode)
    if by is None:
        return [group.mode]
    return allowed(group, by) or ["apply", "dry_run"]


def allowed(group: GroupTasks, key: str) -> list[str]:
    """The values a param allows; empty: it does not say."""
    param = group.params.get(key)
    return [str(value) for value in param.schema.get("enum", ())] if param else []


def known_version(group: GroupTasks, version: str) -> str:
    """A version that was typed, as the group writes it.

    :raises ProblemError: the group has no such migration.
    """
    try:
        return normalise_version(version, [step.version for step in group.steps], where="this group")
    except UnknownVersion as error:
        raise ProblemError(422, "unknown_target_version", str(error)) from None


def check_environment(group: GroupTasks, environment: str) -> None:
    key = group.chosen_by(group.environment)
    if key is None and group.environment != environment:
        raise ProblemError(422, "invalid_params", f"runs of {group.dag_id} cannot choose an environment; leave it out")
    known = allowed(group, key) if key else []
    if known and environment not in known:
        raise ProblemError(422, "invalid_params", f"environment must be one of {', '.join(known)}")
