"""What a folder's migrations make of an empty database, compared with a database that is said to have them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from msgspec import Struct

from .catalog.snapshot.comparing import Difference, diff
from .catalog.snapshot.taking import take
from .errors import HistoryError
from .folder.folder import Folder
from .migrator import Migrator
from .model import Finding, Identity
from .session.scratch import ScratchServer, scratch_database
from .session.session import Connect


class Scratch(Struct, frozen=True):
    """Where and as whom migrations are tried."""

    server: ScratchServer
    identity: Identity
    environment: str | None = None


class Compared(Struct, frozen=True):
    """A database beside the replayed one."""

    differences: tuple[Difference, ...]
    """From what the folder makes to what is there; those that were accepted are among them."""
    accepted: tuple[str, ...]
    """Names of those that were."""
    not_compared: Mapping[str, int]
    """By kind of object, how many the database has that no snapshot tells of."""


def compare_with_replay(
    connect: Connect, folder: Folder, to: str, scratch: Scratch, accepted: Collection[str] = ()
) -> Compared:
    """Apply everything up to a version to an empty scratch database, and compare its schema with the target's.

    :param to: a version of the folder in canonical form.
    :param accepted: names of differences that a person has accepted; see `name_of`.
    :raises HistoryError: the folder cannot be applied there, or was refused by a finding.
    :raises StatementFailed: a migration fails on an empty database.
    """
    with replayed(folder, to, scratch) as (there, _), there() as conn:
        made = take(conn)
    with connect() as conn:
        is_there = take(conn)
    differences = diff(made, is_there)
    names = {name_of(each) for each in differences}
    return Compared(differences, tuple(sorted(names & set(accepted))), is_there.not_compared)


@contextmanager
def replayed(folder: Folder, to: str, scratch: Scratch) -> Iterator[tuple[Connect, frozenset[str]]]:
    """A scratch database to which everything up to a version was applied, and the versions that were.

    :raises HistoryError, StatementFailed: as `compare_with_replay`.
    """
    with scratch_database(scratch.server.connect) as there:
        migrator = Migrator(there, folder, identity=scratch.identity, environment=scratch.environment)
        migrator.on_scratch = True
        plan = migrator.plan(to=to)
        if plan.errors:
            raise HistoryError(plan.errors)
        versions = [step.version for step in plan.steps]
        scratch.server.check(migrator.migrations[version].script for version in versions)
        migrator.apply_each(versions)
        migrator.empty_kept(0)  # what `keep` puts aside is no part of what they make
        yield there, frozenset(versions)


def name_of(difference: Difference) -> str:
    """`column warehouse.equipment.model`: as its sentence begins, and as a person accepts it."""
    return f"{difference.kind} {difference.identity}".strip()


def not_accepted(compared: Compared, to: str) -> Sequence[Finding]:
    """A finding for each difference that nobody has accepted."""
    return [
        Finding(
            "not_as_replayed",
            f"the database is not what the migrations up to {to} make: {each.sentence}",
            f"change the database or the migrations, or accept it: --accept '{name_of(each)}'",
        )
        for each in compared.differences
        if name_of(each) not in compared.accepted
    ]
