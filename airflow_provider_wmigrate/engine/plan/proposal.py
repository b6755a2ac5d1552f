"""What a person is asked to approve, as one value with a digest, and what is not so any more. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from airflow_provider_wmigrate.engine.catalog.snapshot.facts import Snapshot
from airflow_provider_wmigrate.engine.folder.config.settings import Settings
from airflow_provider_wmigrate.engine.model import Finding, Migration, Plan
from airflow_provider_wmigrate.engine.plain import Plain

FIRST = 3
"""How many objects that differ a finding names."""


class ProposedStep(Struct, frozen=True):
    """A migration as a person sees it in the request.

    :param rollback_checksum: of the script that undoes it; None: it has none.
    :param declared: hash over what the config says of it.
    """

    version: str
    file: str
    checksum: str
    rollback_checksum: str | None
    declared: str

    @classmethod
    def of(cls, migration: Migration) -> ProposedStep:
        rollback = migration.rollback.checksum if migration.rollback else None
        declared = {n: getattr(migration, n) for n in migration.__struct_fields__ if n not in _NOT_DECLARED}
        return cls(migration.version, migration.script.file, migration.script.checksum, rollback, _hash(declared))

    def edits(self, now: Migration | None) -> Iterator[str]:
        """:param now: as the folder has it; None: it has it no more."""
        if now is None:
            yield f"{self.file} is gone"
            return
        there = ProposedStep.of(now)
        if there.file != self.file:
            yield f"{self.file} is {there.file} now"
        if there.checksum != self.checksum:
            yield f"{self.file} was edited"
        if there.rollback_checksum != self.rollback_checksum:
            yield f"the rollback script of {self.file} was {_how(self.rollback_checksum, there.rollback_checksum)}"
        if there.declared != self.declared:
            yield f"what migration_config.yaml says of {self.version} was changed"


_NOT_DECLARED = frozenset({"script", "rollback", "config_line", "description", "estimated_duration_seconds"})


def _how(before: str | None, now: str | None) -> str:
    return "added" if before is None else "deleted" if now is None else "edited"


class Proposal(Plain, frozen=True):
    """A plan with all that it was made of.

    :param settings: hash over `settings.execution` and `settings.backup` of the environment.
    :param head: of the audit log before the plan was made; None: there was no ledger.
    :param fingerprint: of the schema at that moment.
    :param objects: name -> hash of each thing of that schema, to tell which of them differ.
    """

    environment: str | None
    steps: tuple[ProposedStep, ...]
    settings: str
    head: str | None
    fingerprint: str
    objects: Mapping[str, str]

    @classmethod
    def of(
        cls,
        plan: Plan,
        migrations: Mapping[str, Migration],
        *,
        environment: str | None,
        settings: Settings,
        head: str | None,
        snapshot: Snapshot,
    ) -> Proposal:
        """:param snapshot: taken before the plan was made, as `head` was read."""
        steps = tuple(ProposedStep.of(migrations[step.version]) for step in plan.steps)
        return cls(environment, steps, _bound(settings), head, snapshot.fingerprint, _objects(snapshot))

    @property
    def digest(self) -> str:
        """SHA-256 over all of it, in hexadecimal digits. The objects are in it by their fingerprint."""
        return _hash({name: value for name, value in self.as_dict().items() if name != "objects"})

    @property
    def versions(self) -> tuple[str, ...]:
        return tuple(step.version for step in self.steps)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Proposal:
        """Read back `as_dict`."""
        return cls(**{**given, "steps": tuple(ProposedStep(**step) for step in given["steps"])})

    # What is not so any more

    def of_folder(self, migrations: Mapping[str, Migration], settings: Settings, version: str) -> Iterator[Finding]:
        """What was edited since.

        :param version: of the one that is to be run.
        """
        if version not in self.versions:
            yield not_as_approved(f"{version} is not part of what was approved", version)
        for step in self.steps:
            for edit in step.edits(migrations.get(step.version)):
                yield not_as_approved(f"{edit} after the plan that was approved", step.version)
        if _bound(settings) != self.settings:
            yield not_as_approved(
                "settings.execution or settings.backup in migration_config.yaml were changed after the plan that was"
                " approved"
            )

    def of_schema(self, now: Snapshot) -> Iterator[Finding]:
        """Which objects are not what they were."""
        if now.fingerprint == self.fingerprint:
            return
        was, here = self.objects, _objects(now)
        names = _wholes(name for name in {*was, *here} if was.get(name) != here.get(name))
        told = [f"{name} {_change(was.get(name), here.get(name))}" for name in names[:FIRST]]
        more = f" (and {len(names) - FIRST} more)" if len(names) > FIRST else ""
        what = "; ".join(told) or "this role sees another part of it"
        yield not_as_approved(f"the schema is not the one for which the plan was approved: {what}{more}")


def not_as_approved(message: str, version: str | None = None) -> Finding:
    return Finding("not_as_approved", message, "have a new plan approved", version=version)


def _change(before: str | None, now: str | None) -> str:
    return "is new" if before is None else "is gone" if now is None else "was changed"


def _wholes(names: Iterable[str]) -> list[str]:
    """Without what is a part of another one of them: `column public.a.id` of `table public.a`."""
    identity = {name: name.rpartition(" ")[2] for name in sorted(names)}
    return [name for name, own in identity.items() if own.rpartition(".")[0] not in identity.values()]


def _objects(snapshot: Snapshot) -> dict[str, str]:
    return {f"{fact.kind} {fact.identity}": fact.hash[:16] for fact in snapshot.facts}


def _bound(settings: Settings) -> str:
    return _hash([settings.execution.as_dict(), settings.backup.as_dict()])


def _hash(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()
