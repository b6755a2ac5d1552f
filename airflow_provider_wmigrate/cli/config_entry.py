"""Adds one block to migration_config.yaml as a person would: some lines of text, everything else untouched.

The file is text with comments, so it is never written anew from its values. The new text must read as the old config
plus that block, or it is not kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from airflow_provider_wmigrate.engine.errors import ConfigError
from airflow_provider_wmigrate.engine.folder.config.reading import parse_config

_INDENT = "  "


def block(version: str, fields: Sequence[str]) -> list[str]:
    """The block's lines, without indentation."""
    return [f'- version: "{version}"', *(_INDENT + line for line in fields)]


def quoted(text: str) -> str:
    """A YAML scalar that means exactly this text."""
    import yaml

    dumped: str = yaml.safe_dump(
        text, allow_unicode=True, width=10_000, default_style='"' if _needs_quotes(text) else None
    )
    return dumped.removesuffix("\n").removesuffix("\n...")


def _needs_quotes(text: str) -> bool:
    return not text[:1].isalpha() or any(sign in text for sign in ":#{}[],&*?|>'\"%@`\\\n")


def with_block(text: str, lines: Sequence[str], environ: Mapping[str, str] | None = None) -> str | None:
    """The config's text with the block added; None: nobody can say how without changing what is there.

    :param environ: what `${NAME}` in the text stands for.
    """
    ending = "\r\n" if "\r\n" in text else "\n"
    there = text.splitlines()
    place = _place(text)
    if place is None:
        return None
    at, indent, before = place
    while not before and at and not there[at - 1].strip():
        at -= 1
    apart = bool(there) if before else _is_apart(there[:at])
    added = [*([""] if apart else []), *before, *(indent + line for line in lines)]
    new = ending.join([*there[:at], *added, *there[at:]]) + ending
    return new if _means_one_more(text, new, environ) else None


def without_blocks(text: str, versions: Collection[str], environ: Mapping[str, str] | None = None) -> str | None:
    """The config's text without the blocks of these versions; None: nobody can say how."""
    import yaml

    old = parse_config(text, environ=environ)
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    items = [item for key, value in (root.value if root else ()) if key.value == "migrations" for item in value.value]
    going = [item for item, block in zip(items, old.blocks, strict=True) if block.version in versions]
    lines = {line for item in going for line in range(item.start_mark.line, _last_line(item) + 1)}
    new = "".join(line for at, line in enumerate(text.splitlines(keepends=True)) if at not in lines)
    left = tuple(block for block in old.blocks if block.version not in versions)
    try:
        read = parse_config(new, environ=environ)
    except ConfigError:
        return None
    return new if read.blocks == left and read.having(blocks=()) == old.having(blocks=()) else None


def _is_apart(above: Sequence[str]) -> bool:
    """Whether the last block has a blank line before it: then the new one has one too."""
    starts = [i for i, line in enumerate(above) if line.lstrip().startswith("- ") and "version" in line]
    return bool(starts) and starts[-1] > 0 and not above[starts[-1] - 1].strip()


def _place(text: str) -> tuple[int, str, list[str]] | None:
    """(line before which it goes, its indentation, lines before it)."""
    import yaml

    try:
        root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    count = len(text.splitlines())
    if root is None:
        return count, _INDENT, ["migrations:"]
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return None
    for key, value in root.value:
        if key.value == "migrations":
            return _inside(value, key)
    return count, _INDENT, ["migrations:"]


def _inside(value: Any, key: Any) -> tuple[int, str, list[str]] | None:
    import yaml

    if isinstance(value, yaml.ScalarNode) and value.value == "" and value.style is None:
        return key.end_mark.line + 1, _INDENT, []
    if not isinstance(value, yaml.SequenceNode) or value.flow_style or not value.value:
        return None
    indent = " " * value.start_mark.column
    return _last_line(value.value[-1]) + 1, indent, []


def _last_line(node: Any) -> int:
    """The line on which a node's last word stands; end marks of blocks lie behind the comments that follow."""
    import yaml

    if isinstance(node, yaml.ScalarNode) or not node.value or node.flow_style:
        end = node.end_mark
        return int(end.line - 1 if end.column == 0 and end.line > node.start_mark.line else end.line)
    last = node.value[-1]
    if not isinstance(node, yaml.MappingNode):
        return _last_line(last)
    key, value = last
    empty = isinstance(value, yaml.ScalarNode) and value.start_mark.index == value.end_mark.index
    return int(key.end_mark.line) if empty else _last_line(value)


def _means_one_more(old: str, new: str, environ: Mapping[str, str] | None) -> bool:
    try:
        before, after = parse_config(old, environ=environ), parse_config(new, environ=environ)
    except ConfigError:
        return False
    *kept, _ = after.blocks or (None,)
    return tuple(kept) == before.blocks and after.having(blocks=()) == before.having(blocks=())
