"""What another tool has applied, held against a folder and a ledger: which entries that makes, and what keeps them from
being made."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.engine.model import Finding, Migration, canonical_version, version_key

from .model import Applied, Tool


class Matched(Struct, frozen=True):
    """What can be taken over."""

    adopted: Mapping[str, Applied]
    """By version, dependencies first."""
    left_out: tuple[str, ...] = ()
    """What has no file, which somebody accepted; as the tool calls it."""
    findings: tuple[Finding, ...] = field(default=())


def match(
    tool: Tool,
    applied: Sequence[Applied],
    migrations: Mapping[str, Migration],
    origins: Mapping[str, str],
    graph: Graph,
    accepted: Collection[str] = (),
) -> Matched:
    """:param migrations: of the folder, by version.
    :param origins: version -> what the tool calls it, where the config says so.
    :param accepted: what may be without a file, or be another one than was applied; as the tool calls it, or a version.
    """
    found: dict[str, Applied] = {}
    left_out: list[str] = []
    findings: list[Finding] = []
    by_origin = {origin: version for version, origin in origins.items()}
    for one in applied:
        version = _version(one, migrations, by_origin)
        covered = _covered(one, version, migrations, origins, graph)
        for other in covered:
            found.setdefault(other, replace(one, name=origins.get(other, other)))
        if version is not None:
            found[version] = one
        elif one.name in accepted:
            left_out.append(one.name)
        elif not one.is_baseline:
            findings.append(_no_file(tool, one))
    taken = accepted_versions(accepted)
    for version, one in found.items():
        known = tool.digests(migrations[version].script.text) if one.checksum is not None else set()
        if known and one.checksum not in known and version not in taken and one.name not in accepted:
            findings.append(_edited(tool, migrations[version], one))
    order = {v: found[v] for v in graph.order if v in found}
    return Matched(order, tuple(left_out), tuple(findings))


def accepted_versions(accepted: Iterable[str]) -> set[str]:
    """Those of the names that are versions."""
    return {canonical_version(name) for name in accepted if name.isascii() and name.isdigit()}


def _version(one: Applied, migrations: Mapping[str, Migration], by_origin: Mapping[str, str]) -> str | None:
    """By what the config says, else by the number, of a migration that has no other origin."""
    if one.name in by_origin:
        return by_origin[one.name]
    number = canonical_version(one.version) if one.version else ""
    return number if number in migrations and number not in by_origin.values() else None


def _covered(
    one: Applied,
    version: str | None,
    migrations: Mapping[str, Migration],
    origins: Mapping[str, str],
    graph: Graph,
) -> Iterable[str]:
    if one.with_ancestors and version is not None:
        return sorted(graph.ancestors([version]), key=version_key)
    covers = one.covers
    return [v for v in migrations if covers(v, origins.get(v, ""))] if covers else ()


def _no_file(tool: Tool, one: Applied) -> Finding:
    return Finding(
        "not_adoptable",
        f"{tool.name} has applied {one.name}, and the folder has no file of it",
        f"make the folder with `wmigrate convert --from {tool.name}`, or restore the file; if it is gone for good,"
        f" leave it out with --accept '{one.name}'",
    )


def _edited(tool: Tool, migration: Migration, one: Applied) -> Finding:
    return Finding(
        "not_adoptable",
        f"is not what {tool.name} applied: its checksum is not {one.checksum}",
        f"restore it and write a new migration; if the difference means nothing, --accept {migration.version}",
        version=migration.version,
        file=migration.script.file,
    )


def needed(migration: Migration, applied: Collection[str]) -> Iterator[str]:
    """Its dependencies as far as they were there: another tool may have gone on without one."""
    return (parent for parent in migration.dependencies if parent in applied)
