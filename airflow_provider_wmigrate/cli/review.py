"""review: what a person wants to read before a change is merged, as Markdown: what is new, plan, forecast, findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from airflow_provider_wmigrate.telling.summaries import findings_markdown, plan_markdown

from .call import Answer, Call
from .check import in_files, in_repository
from .failure import DONE, FOUND
from .screen import Screen, plural

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.folder.folder import Folder
    from airflow_provider_wmigrate.engine.foreseen import Forecast
    from airflow_provider_wmigrate.engine.model import Finding, Migration, Plan


class _Looked(Struct, frozen=True):
    """:param plan: None: no database was asked. :param untried: what could not be looked at."""

    plan: Plan | None
    foreseen: Sequence[Forecast]
    findings: Sequence[Finding]
    untried: Sequence[str]


def review(call: Call) -> Answer:
    """Exit code 3 if an error was found, as of `check`, `plan` and `lint`."""
    folder, findings = in_files(call)
    new: Sequence[Migration] = ()
    looked = _Looked(None, (), (), ())
    if folder is not None:
        changed, new = in_repository(call, folder)
        findings += changed
        looked = looked if folder.wrong else _look(call, new)
    told = set(findings)
    findings += [finding for finding in looked.findings if finding not in told]
    wrong = [f for f in findings if call.arguments.strict or f.severity == "error"]
    text = "\n\n".join(_parts(call.arguments.since, folder, new, looked, findings))
    data = {
        "folder": str(call.folder_path),
        "since": call.arguments.since,
        "new": [m.version for m in new],
        "plan": None if looked.plan is None else [step.version for step in looked.plan.steps],
        "forecast": [forecast.as_dict() for forecast in looked.foreseen],
        "not_tried": looked.untried,
        "ok": not wrong,
        "findings": findings,
        "markdown": text,
    }

    def show(screen: Screen) -> None:
        screen.text(text)

    return Answer(data, show, FOUND if wrong else DONE)


def _look(call: Call, new: Sequence[Migration]) -> _Looked:
    """Plan and forecast if there is a target, and what lint finds in what is new, else in what is pending."""
    from airflow_provider_wmigrate.engine.plan.proven import unproven

    from .lint import look

    since = call.arguments.since
    if call.arguments.offline or call.optional_target is None:
        chosen = call.folder.under(call.settings) if since is None else new
        linted = look(call, None, chosen)
        found = [*unproven(call.folder, {m.version for m in chosen}), *linted.findings]
        return _Looked(None, (), found, linted.untried)
    planning = call.planning()
    plan = planning.plan()
    foreseen, to_split = planning.forecast(plan, call.analysed) if plan.steps else ((), ())
    pending = [planning.migrations[step.version] for step in plan.steps]
    linted = look(call, plan, pending if since is None else new)
    proofs = unproven(call.folder, {m.version for m in pending})
    return _Looked(plan, foreseen, [*proofs, *plan.findings, *to_split, *linted.findings], linted.untried)


def _parts(
    since: str | None, folder: Folder | None, new: Sequence[Migration], looked: _Looked, findings: Sequence[Finding]
) -> Iterator[str]:
    count = "Migrations" if folder is None else plural(len(folder.migrations), "migration")
    yield f"## {count}" + (f", {len(new)} new since `{since}`" if since and folder else "")
    if new:
        yield "\n".join(f"- `{m.stem}`{f': {m.description}' if m.description else ''}" for m in new)
    if looked.plan is None:
        yield "No database was asked, so there is no plan."
    else:
        yield plan_markdown(looked.plan, (), looked.foreseen)
    yield "### Findings\n\n" + (findings_markdown(findings) or "None.")
    if looked.untried:
        yield "\n".join(f"- not tried: {line}" for line in looked.untried)
