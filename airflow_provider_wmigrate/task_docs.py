"""What the task of a migration says of it in the serialized DAG: Markdown for people, JSON for the web server.

The JSON stands in `doc_json`, which Airflow keeps as it is. A template field would be cut at 4,096 characters, and
rendered: braces in a script would be taken for a template.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from .engine.errors import WMigrateError
from .engine.extension import RequiredExtension
from .folding import HISTORY

if TYPE_CHECKING:
    from .engine.folder.config.migrations import MigrationBlock
    from .engine.folder.config.root import Config
    from .engine.model import Migration, Script

SHOWN = 4_000
"""Characters of a script that is shown. It is part of the serialized DAG, so it has to stay small."""

HIDDEN = "settings.logging.include_sql is false, so no script is shown"


@dataclass(frozen=True, slots=True)
class ShownScript:
    """A script, or why its text is not shown."""

    file: str
    checksum: str
    text: str | None = None
    reason: str | None = None

    @property
    def masked(self) -> ShownScript:
        """Without secrets: those found by the grammar, and those that Airflow knows."""
        from airflow.sdk.log import redact

        from .engine.sql.masking import masked_sql

        return self if self.text is None else replace(self, text=str(redact(masked_sql(self.text))))


@dataclass(frozen=True, slots=True)
class MigrationDoc:
    """What can be known of a migration without its folder."""

    description: str = ""
    dependencies: tuple[str, ...] = ()
    extensions: tuple[Mapping[str, str | None], ...] = ()
    """As declared; where `when_missing` is None, the environment decides."""
    script: ShownScript | None = None
    """None: the task was not made by a task group."""
    rollback: ShownScript | None = None
    dependencies_implied: bool = False
    """Nobody declared them: it needs the one before it in the folder."""

    @classmethod
    def of(cls, migration: Migration, block: MigrationBlock | None, *, hidden: str | None = None) -> MigrationDoc:
        """:param block: what the config says of it.
        :param hidden: why no script may be shown; None: each may.
        """
        return cls(
            migration.description,
            migration.dependencies,
            tuple(each.as_dict() for each in block.requires_extensions) if block else (),
            _shown(migration.script, hidden),
            _shown(migration.rollback, hidden) if migration.rollback else None,
            migration.dependencies_implied,
        )

    @classmethod
    def from_json(cls, text: str | None) -> MigrationDoc:
        """Read back `as_json`."""
        return cls.from_dict(json.loads(text) if text else {})

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], *, reason: str | None = None) -> MigrationDoc:
        """What is left out is empty.

        :param reason: why no script is shown, where that is not given.
        """
        return cls(
            given.get("description", ""),
            tuple(given.get("dependencies", ())),
            tuple(given.get("extensions", ())),
            _read(given.get("script"), reason),
            _read(given.get("rollback"), reason),
            bool(given.get("dependencies_implied")),
        )

    def required(self, when_missing: str) -> tuple[RequiredExtension, ...]:
        """The extensions it needs, in an environment with that policy."""
        return tuple(
            RequiredExtension(**{**each, "when_missing": each["when_missing"] or when_missing})  # type: ignore[arg-type]
            for each in self.extensions
        )

    @property
    def masked(self) -> MigrationDoc:
        """Without the secrets in its scripts."""
        script, rollback = (each and each.masked for each in (self.script, self.rollback))
        return replace(self, script=script, rollback=rollback)

    def as_json(self) -> str:
        """For `doc_json`."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def as_markdown(self, stem: str) -> str:
        """For `doc_md`: the panel a person opens beside the task."""
        lines = [f"**{stem}**: {self.description or 'no description'}", ""]
        lines.append(f"- depends on: {', '.join(self.dependencies) or 'nothing'}")
        lines += [f"- sha256: `{self.script.checksum}`"] if self.script else []
        lines.append(f"- rollback: {'yes' if self.rollback else 'none'}")
        for script in filter(None, (self.script, self.rollback)):
            if script.text is not None:
                lines += ["", f"`{script.file}`", "", *fenced(script.text)]
            elif script.reason != HIDDEN:
                lines += ["", f"`{script.file}`: {script.reason}"]
        return "\n".join(lines)


def _shown(script: Script, hidden: str | None) -> ShownScript:
    if hidden:
        return ShownScript(script.file, script.checksum, reason=hidden)
    try:
        text = script.text
    except WMigrateError as error:  # edited since the DAG file was parsed; the next parse shows it
        return ShownScript(script.file, script.checksum, reason=str(error))
    if len(text) > SHOWN:
        why = f"{len(text)} characters, shown in the log of the task"
        return ShownScript(script.file, script.checksum, reason=why)
    return ShownScript(script.file, script.checksum, text)


_FOLDED = "one of the history, whose scripts are not shown"


@dataclass(frozen=True, slots=True)
class HistoryDoc:
    """What can be known of the migrations that are one task, without their folder; of their scripts no text."""

    migrations: tuple[Migration, ...]
    config: Config | None = None

    @property
    def masked(self) -> HistoryDoc:
        """There is no secret in it."""
        return self

    def as_json(self) -> str:
        """For `doc_json`: a large folder has hundreds, so what is not said is left out."""
        blocks = self.config.migrations if self.config else {}
        docs = {m.version: asdict(MigrationDoc.of(m, blocks.get(m.version), hidden=_FOLDED)) for m in self.migrations}
        for doc in docs.values():
            for script in filter(None, (doc["script"], doc["rollback"])):
                del script["reason"]  # the same for all
        return json.dumps({HISTORY: {version: _said(doc) for version, doc in docs.items()}}, ensure_ascii=False)

    def as_markdown(self, stem: str) -> str:
        """For `doc_md`."""
        first, last = self.migrations[0].stem, self.migrations[-1].stem
        which = f"`{first}`" if first == last else f"{len(self.migrations)} migrations from `{first}` to `{last}`"
        return f"**{stem}**: {which}, which are older than those with a task of their own. Its log tells each."

    @staticmethod
    def from_json(text: str | None) -> dict[str, MigrationDoc]:
        """Read back `as_json`: version -> what is known of that migration."""
        given: dict[str, Any] = json.loads(text) if text else {}
        docs: Mapping[str, Any] = given.get(HISTORY, {})
        return {version: MigrationDoc.from_dict(doc, reason=_FOLDED) for version, doc in docs.items()}


def _said(value: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is empty, inside too."""
    inner = {name: _said(each) if isinstance(each, dict) else each for name, each in value.items()}
    return {name: each for name, each in inner.items() if each}


class DocumentedTask:
    """A task that writes its documentation when it is asked for it, which is when the DAG is serialized.

    To read the script and to mask its secrets takes time, and no task process needs it.
    """

    task_id: str
    migration_doc: Callable[[], MigrationDoc | HistoryDoc] | None = None
    _given: str | None = None

    @property
    def doc_md(self) -> str | None:
        """Of the migration, and below it what the user gave."""
        if self.migration_doc is None:
            return self._given
        ours = self.migration_doc().masked.as_markdown(self.task_id.rpartition(".")[2])
        return "\n\n".join(filter(None, [ours, self._given]))

    @doc_md.setter
    def doc_md(self, given: str | None) -> None:
        self._given = given

    @property
    def doc_json(self) -> str | None:
        """Of the migration; what the user gave is not taken, for the web server reads this."""
        return self.migration_doc().masked.as_json() if self.migration_doc else None

    @doc_json.setter
    def doc_json(self, given: str | None) -> None:
        pass


def fenced(text: str) -> list[str]:
    """A block of code whose fence is longer than any in the text, so that the text stays what it is."""
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{fence}sql", text.rstrip(), fence]


def _read(given: Mapping[str, Any] | None, reason: str | None) -> ShownScript | None:
    return None if given is None else ShownScript(**{"reason": reason, **given})
