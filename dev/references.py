"""Write everything in docs/ that is generated from the code: `python -m dev.references`. Tests hold it current."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dev import airflow_reference, cli_reference, error_reference, event_reference, ledger_reference, reference

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"

PAGES: dict[str, Callable[[], str]] = {
    "airflow.md": airflow_reference.page,
    "errors.md": error_reference.page,
    "audit-events.md": event_reference.page,
    "ledger-tables.md": ledger_reference.page_of_a_new_server,
}
"""In docs/reference. The others, which are older, have their own places."""


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
    reference.FILE.write_text(reference.reference(), encoding="utf-8")
    cli_reference.FILE.write_text(cli_reference.page(cli_reference.FILE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
