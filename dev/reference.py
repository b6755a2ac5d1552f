"""Writes docs/configuration.md from the config's models: `python -m dev.reference`. A test holds it to be current."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_wmigrate.engine.folder.config import PLANNED, KeyDescription, describe

FILE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"

_HEAD = """# Configuration

`migration_config.yaml` in the folder of migrations. Every key is optional and so is the file. An unknown key, a wrong
value or a key given twice is refused with its line and the nearest known key. Numbers are decimal (`010` is version 10,
not 8), truth is `true` or `false`.

In every value `${NAME}` stands for an environment variable of the process that reads the file (in Airflow: of the DAG
processor and of each task), `${NAME:default}` for it or, where it is empty or not set, for the default, and `$${` for
`${` itself. What is then there is read as if it had been written, so a number may come from a variable. A variable with
neither value nor default is an error with its line; those of `settings.database` are needed only where the command line
connects by them.

`environments` override settings by name, without the `settings.` level; a task group, operator or sensor chooses one
with `environment=`:

```yaml
settings:
  execution:
    timeout_seconds: 300
environments:
  production:
    execution:
      timeout_seconds: 1800
```

This page is generated from the code: `python -m dev.reference`.
"""


def reference() -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    for key in describe():
        if key.type.startswith("a mapping") and not key.default:
            parts.append(f"\n## `{key.key}`\n\n{key.meaning}{_planned(key.key)}\n")
            parts.append("\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n")
        else:
            parts.append(_row(key))
    return _without_empty_tables("".join(parts))


def _planned(prefix: str) -> str:
    plan = PLANNED.get(prefix)
    return f"\n\n**Planned, not built yet** ({plan.topic}): using it is a finding." if plan else ""


def _row(key: KeyDescription) -> str:
    default = f"`{key.default}`" if key.default not in ("", "required") else key.default
    note = _planned(key.key).replace("\n\n", " ")
    return f"| `{key.key}` | {key.type.replace('|', 'or')} | {default} | {key.meaning}{note} |\n"


def _without_empty_tables(text: str) -> str:
    """Sections of which every key is a section of its own."""
    empty = "\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n\n#"
    return text.replace(empty, "\n#")


if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
