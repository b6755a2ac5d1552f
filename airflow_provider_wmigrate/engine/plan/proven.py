"""Which rollbacks are proven, by the verdicts that stand in the folder. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from airflow_provider_wmigrate.engine.errors import FolderError
from airflow_provider_wmigrate.engine.folder.verdict_file import (
    VERDICT_FILE,
    About,
    Grade,
    WrittenVerdict,
    about,
    read_verdicts,
)
from airflow_provider_wmigrate.engine.model import Finding, Migration, finding_in

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.folder.folder import Folder

    from .verdict import Verdict

_REQUIRED = "validation.migrations.require_rollback_validation"


def unproven(folder: Folder, versions: Collection[str]) -> Iterator[Finding]:
    """A finding for each migration about to run whose rollback is not known to give back what was there, where the
    config requires that it is.

    :param folder: with all scripts read.
    """
    if not folder.config.validation.migrations.require_rollback_validation:
        return
    # Where there is no script, or where there should be none, another finding tells it.
    asked = [m for m in folder.migrations if m.version in versions and m.rollback and m.rollback_supported is not False]
    if not asked:
        return
    try:
        written = read_verdicts(folder.path)
    except FolderError as error:
        yield from error.findings
        return
    if not written:
        config = folder.config
        message = f"no rollback is proven: there is no verdict in {VERDICT_FILE}, and require_rollback_validation is on"
        nxt = "prove them with `wmigrate verify --write`, and commit that file"
        yield Finding("rollback_unproven", message, nxt, file=config.file, line=config.lines.get(_REQUIRED))
        return
    texts = about(folder.migrations)
    for migration in asked:
        verdict = written.get(migration.version)
        why = _why_unproven(migration, verdict, texts[migration.version])
        if why:
            file, line = (VERDICT_FILE, verdict.line) if verdict else (None, None)
            yield finding_in("rollback_unproven", migration, *why, file=file, line=line)


def _why_unproven(migration: Migration, verdict: WrittenVerdict | None, now: About) -> tuple[str, str] | None:
    """What is wrong, and what to do; None: it is proven."""
    prove = f"`wmigrate verify {migration.version} --write`"
    if verdict is None:
        return f"its rollback has no verdict in {VERDICT_FILE}", f"prove it with {prove}"
    was = verdict.about
    if was != now:
        assert migration.rollback
        edited = (
            migration.script.file
            if was.script != now.script
            else migration.rollback.file
            if was.rollback != now.rollback
            else "what it builds on"
        )
        return (
            f"the verdict on the rollback of {migration.version} is about another text of {edited}",
            f"prove it again with {prove}",
        )
    if verdict.passes:
        return None
    return (
        f"the rollback of {migration.version} is not exact: {verdict.grade.words}",
        f"correct it and prove it with {prove}; or, if that is all right: {prove[:-1]} --accept {migration.version}`",
    )


def accepted(texts: Mapping[str, About], written: Mapping[str, WrittenVerdict], verdict: Verdict) -> bool:
    """Whether a person has said of this grade, for these texts, that it is all right.

    :param texts: what `about` says of the folder now.
    """
    known = written.get(verdict.version)
    if known is None or not known.accepted:
        return False
    return known.grade is verdict.grade and known.about == texts[verdict.version]


def with_verdicts(
    texts: Mapping[str, About],
    written: Mapping[str, WrittenVerdict],
    verdicts: Iterable[Verdict],
    postgresql: int,
    accept: Collection[str],
) -> dict[str, WrittenVerdict]:
    """What the file says with new verdicts: what it says of others stays, and of versions that are gone goes.

    What was not tried keeps what was said of it before, unless a person accepts it so.

    :param texts: as for `accepted`.
    :param accept: versions of which a person says that the grade is all right.
    """
    found = {version: verdict for version, verdict in written.items() if version in texts}
    for verdict in verdicts:
        taken = not verdict.grade.passes and (verdict.version in accept or accepted(texts, written, verdict))
        if verdict.grade in (Grade.IRREVERSIBLE, Grade.NO_ROLLBACK):
            found.pop(verdict.version, None)  # the config and the files say it
        elif verdict.grade is not Grade.NOT_TRIED or taken:
            found[verdict.version] = WrittenVerdict(verdict.grade, taken, postgresql, texts[verdict.version])
    return found
