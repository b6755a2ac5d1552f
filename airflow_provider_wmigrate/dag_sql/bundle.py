"""What the DAGs of a task's bundle use, by their files: a task has these at hand, and no way to Airflow's own
database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.blast import Elsewhere, Found
_OTHER_BUNDLES = "DAGs of other bundles, and what serialized DAGs and rendered fields show: the page does"


def in_bundle(task: Any, context: Any) -> Elsewhere:
    """:param task: with `folder` and `conn_id`."""

    def look(words: frozenset[str]) -> Found:
        from .connections import same_database
        from .files import in_files

        bundle = getattr(context["ti"], "bundle_instance", None)
        folder = Path(bundle.path if bundle is not None else task.dag.folder)
        found = in_files(folder, migrations=Path(task.folder), sure=same_database(task.conn_id))(words)
        return found._replace(unseen=(*found.unseen, _OTHER_BUNDLES))

    return look
