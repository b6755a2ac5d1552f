"""The verbs that look into the folder, or write into it. Data only, standard library only, as of all verbs."""

from __future__ import annotations

from .arguments import Argument, Verb
from .shared_options import OFFLINE, RELEASED, STRICT, TEMPLATES

FOLDER_VERBS = (
    Verb(
        "check",
        "Look for mistakes in folder, config and ledger; for CI. Works without a target too.",
        "check:check",
        (RELEASED, OFFLINE, STRICT),
        database="optional",
    ),
    Verb(
        "lint",
        "Look for what is likely to hurt in the SQL of the migrations; with a target, of the pending ones.",
        "lint:lint",
        (
            Argument(("--all",), "All migrations of the folder, also the applied ones.", kind="flag"),
            OFFLINE,
            STRICT,
            Argument(("--baseline",), "Do not tell the findings that this file knows.", "FILE", completes="file"),
            Argument(
                ("--write-baseline",),
                "Write all findings of now into this file, and tell none.",
                "FILE",
                completes="file",
            ),
            Argument(
                ("--format",),
                "For whom: a person, a SARIF reader, or annotations of GitHub Actions.",
                "FORMAT",
                choices=("text", "sarif", "github"),
                default="text",
            ),
        ),
        database="optional",
    ),
    Verb(
        "review",
        "Write what is new, its plan, its forecast and all findings as Markdown, for a pull request.",
        "review:review",
        (RELEASED, OFFLINE, STRICT),
        database="optional",
    ),
    Verb(
        "new",
        "Write the next migration, its rollback and its config entry.",
        "new:new",
        (
            Argument(("name",), "Name in lower-case words: add_email.", "NAME", optional=True),
            Argument(("--template",), "What to begin with.", "TEMPLATE", choices=TEMPLATES, default="empty"),
            Argument(("--set",), "Fill in a word of the template; may be given several times.", "WORD=TEXT", "list"),
            Argument(("--description",), "Description for the config entry. Default: the name in words.", "TEXT"),
            Argument(
                ("--depends-on",),
                "A migration that this one needs, instead of the one before; may be given several times.",
                "VERSION",
                "list",
            ),
            Argument(("--templates",), "List the templates and their words.", kind="flag"),
        ),
        database="optional",
    ),
)
