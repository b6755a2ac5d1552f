"""Snapshots as values: hashes and fingerprints that were computed by hand, files, and what differs between two."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_wmigrate.engine.catalog.snapshot.comparing import Difference, diff, remarks
from airflow_provider_wmigrate.engine.catalog.snapshot.facts import Fact, Snapshot, canonical, fact, ordered
from airflow_provider_wmigrate.engine.errors import WMigrateError


def snapshot(*facts: Fact, unseen: dict[str, str] | None = None, number: int = 1) -> Snapshot:
    return Snapshot(ordered(facts), unseen or {}, {"cast": 2}, 150004, number)


def of(kind: str, identity: str, whole: str = "", shown: dict[str, Any] | None = None, /, **attributes: Any) -> Fact:
    schema = identity.partition(".")[0] if "." in identity else ""
    return fact(kind, identity, schema, whole, canonical(attributes), canonical(shown) if shown else "")


TABLE, COLUMN, EXTENSION = (
    fact("table", "s.t", "s", "", '{"kind": "r"}'),
    fact("column", "s.t.x", "s", "s.t", '{"type": "int"}', '{"position": 1}'),
    fact("extension", "e", "", "", "{}"),
)
HASHES = [
    "22b945f74edd3edc7e338506e9e8224d7e19164a2f15046007cdc55d92a1e2d2",
    "e9881923c1cb11a6579d08a1f2175ca33589e82b050abaa716b3baccfed67825",
    "cc3e51e4fc91a0c960a55f64d0e80c6c42db52682233407ef4be68c8195d4590",
]
SCHEMAS = {
    "": "31767d59e7090aef261af3e62288cd1c30cdd999469b992698579ece7e52462d",
    "s": "e125f30af042399f8b9a30a2dd5458bf8dca5143f318cc143e18eb3516efd47b",
}


def test_hashes_are_over_texts_alone() -> None:
    taken = snapshot(TABLE, EXTENSION, COLUMN, unseen={"role": "no right", "grant": "no right"})
    assert taken.facts == (COLUMN, EXTENSION, TABLE)
    assert [each.hash for each in taken.facts] == HASHES
    assert taken.schemas == SCHEMAS
    assert list(taken.schemas) == ["", "s"]
    assert taken.fingerprint == "b6f9f66dbec161ab5e919e358544570e70040318972ee1937f12decd6efcfaf0"
    assert snapshot(TABLE, EXTENSION, COLUMN).fingerprint != taken.fingerprint
    assert [each.group for each in (TABLE, of("grant on table", "a"), of("grant", "b"))] == ["table", "grant", "grant"]


def test_a_file_is_the_same_snapshot() -> None:
    taken = snapshot(TABLE, EXTENSION, COLUMN, unseen={"role": "no right"})
    document = taken.as_dict()
    assert document == {
        "format": 1,
        "fingerprint": taken.fingerprint,
        "server_version": 150004,
        "schemas": SCHEMAS,
        "unseen": {"role": "no right"},
        "not_compared": {"cast": 2},
        "facts": [
            {"kind": "column", "identity": "s.t.x", "schema": "s", "of": "s.t", "attributes": {"type": "int"},
             "shown": {"position": 1}, "hash": HASHES[0]},
            {"kind": "extension", "identity": "e", "schema": "", "of": "", "attributes": {}, "shown": {},
             "hash": HASHES[1]},
            {"kind": "table", "identity": "s.t", "schema": "s", "of": "", "attributes": {"kind": "r"}, "shown": {},
             "hash": HASHES[2]},
        ],
    }  # fmt: skip
    read = Snapshot.from_dict(json.loads(json.dumps({**document, "facts": document["facts"][::-1]})))
    assert read == taken


NONE = "this is no snapshot; write one with `wmigrate snapshot --output`"
CHANGED = "the facts of this snapshot are not those of its fingerprint; it was changed; write it again"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        *(({name: ...}, NONE) for name in
          ("format", "fingerprint", "server_version", "unseen", "not_compared", "facts")),
        ({"facts": [5]}, NONE),
        ({"facts": [{**snapshot(TABLE).as_dict()["facts"][0], "attributes": 5}]}, CHANGED),
        ({"facts": []}, CHANGED),
        ({"unseen": {"role": "x"}}, CHANGED),
        ({"fingerprint": "0"}, CHANGED),
    ],
)  # fmt: skip
def test_what_is_no_snapshot(changes: dict[str, Any], said: str) -> None:
    document = snapshot(TABLE).as_dict() | changes
    with pytest.raises(WMigrateError) as refused:
        Snapshot.from_dict({name: value for name, value in document.items() if value is not ...})
    assert str(refused.value) == said
    with pytest.raises(WMigrateError):
        Snapshot.from_dict(None)


def test_nothing_differs() -> None:
    taken = snapshot(TABLE, COLUMN)
    assert (diff(taken, taken), remarks(taken, taken)) == ((), ())


def test_what_came_went_and_changed() -> None:
    """The parts of what came or went as a whole are counted with it, and not told one by one."""
    before = snapshot(
        of("table", "s.gone", kind="r"),
        of("column", "s.gone.a", "s.gone", type="int"),
        of("column", "s.gone.b", "s.gone", type="int"),
        of("index", "s.i", "s.gone", text="x"),
        of("table", "s.t", kind="r"),
        of("column", "s.t.a", "s.t", type="int", default=None, collation="C"),
        of("column", "s.t.b", "s.t", type="int"),
    )
    after = snapshot(
        of("view", "s.new", text="SELECT"),
        of("column", "s.new.a", "s.new", type="int"),
        of("table", "s.t", kind="r"),
        of("column", "s.t.a", "s.t", type="text", default="1", collation="C"),
        of("column", "s.t.c", "s.t", type="int"),
    )
    found = diff(before, after)
    assert found == (
        Difference("column", "s.t.a", "changed", "default", None, "1"),
        Difference("column", "s.t.a", "changed", "type", "int", "text"),
        Difference("column", "s.t.b", "removed", "", {"type": "int"}, None),
        Difference("column", "s.t.c", "added", "", None, {"type": "int"}),
        Difference("table", "s.gone", "removed", "", {"kind": "r"}, None),
        Difference("view", "s.new", "added", "", None, {"text": "SELECT"}),
    )
    assert [each.parts for each in found] == [(), (), (), (), (("column", 2), ("index", 1)), (("column", 1),)]
    assert [each.sentence for each in found] == [
        "column s.t.a: default none -> 1",
        "column s.t.a: int -> text",
        "column s.t.b is gone",
        "column s.t.c is new",
        "table s.gone is gone, with 2 x column, 1 x index",
        "view s.new is new, with 1 x column",
    ]
    assert found[4].as_dict() == {
        "kind": "table",
        "identity": "s.gone",
        "change": "removed",
        "attribute": "",
        "before": {"kind": "r"},
        "after": None,
        "parts": {"column": 2, "index": 1},
        "sentence": "table s.gone is gone, with 2 x column, 1 x index",
    }


def test_a_part_that_goes_while_another_of_its_name_comes_is_told() -> None:
    """A trigger of one name may be a part of a table that stays; the whole that came is counted in its own way."""
    before = snapshot(of("type", "s.x", text="a"), of("constraint", "s.x", "s.t", text="a"), of("table", "s.t"))
    after = snapshot(of("table", "s.t"))
    assert [(each.kind, each.change, each.parts) for each in diff(before, after)] == [
        ("constraint", "removed", ()),
        ("type", "removed", ()),
    ]


def test_of_what_one_could_not_see_nothing_is_compared() -> None:
    before = snapshot(TABLE, of("grant on table", "a"), unseen={"role": "no right", "user mapping": "b"})
    after = snapshot(TABLE, of("role", "x"), unseen={"grant": "no rights", "user mapping": "c"})
    found = diff(before, after)
    assert found == (
        Difference("grant", "", "unseen", "", None, "no rights"),
        Difference("role", "", "unseen", "", "no right", None),
        Difference("user mapping", "", "unseen", "", "b", "c"),
    )
    assert [each.sentence for each in found] == [
        "facts of the kind grant cannot be compared: no rights",
        "facts of the kind role cannot be compared: no right",
        "facts of the kind user mapping cannot be compared: b",
    ]


def test_formats_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"\Asnapshots of formats 1 and 2\Z"):
        diff(snapshot(), snapshot(number=2))


@pytest.mark.parametrize(
    ("attribute", "before", "after", "words"),
    [
        ("type", "character varying(9)", "timestamp with time zone[]", "k i: varchar(9) -> timestamptz[]"),
        ("default", "timestamp without time zone", None, "k i: default timestamp -> none"),
        ("text", "a", "b", "k i: a -> b"),
        ("not_null", True, False, "k i: not null yes -> no"),
        ("of", ["a", "b"], [], "k i: of a, b -> none"),
        ("of", [1, "é"], {"a": "é"}, 'k i: of [1, "é"] -> {"a": "é"}'),
        ("limit", 1, 120, "k i: limit 1 -> 120"),
        ("text", "x" * 120, "b", f"k i: {'x' * 120} -> b"),
        ("text", "x" * 121, "b", "k i: text differs"),
        ("security_label", "a", "b\nc", "k i: security label differs"),
    ],
)
def test_values_in_words(attribute: str, before: Any, after: Any, words: str) -> None:
    difference = Difference("k", "i", "changed", attribute, before, after)
    assert difference.sentence == words
    assert bool(difference.lines) is words.endswith("differs")


def test_lines_of_a_long_text() -> None:
    was, now = "\n".join("abcdefgh"), "\n".join("abcdXfgh")
    assert Difference("k", "i", "changed", "text", was, now).lines == ("@@ -4,3 +4,3 @@", " d", "-e", "+X", " f")
    assert Difference("k", "i", "changed", "text", None, "a\nb").lines == ("@@ -0,0 +1,2 @@", "+a", "+b")
    assert Difference("k", "i", "changed", "text", "a\nb", None).lines == ("@@ -1,2 +0,0 @@", "-a", "-b")
    assert Difference("k", "i", "added", "", None, "a\nb").lines == ()


def test_what_is_shown_and_is_no_difference() -> None:
    def columns(table: str, *names: str, kind: str = "column") -> list[Fact]:
        return [of(kind, f"{table}.{name}", table, {"position": at}) for at, name in enumerate(names, 9)]

    def extension(name: str, number: str) -> Fact:
        return of("extension", name, "", {"version": number})

    before = snapshot(
        *columns("s.t", "a", "b", "c"), *columns("s.u", "a", "b"), *columns("s.y", "b", "a", kind="attribute"),
        *columns("s.gone", "a"), extension("e", "1"), extension("f", "1"), extension("gone", "1"),
        of("index", "s.t.i", "s.t"),
    )  # fmt: skip
    after = snapshot(
        *columns("s.t", "c", "new", "a"), *columns("s.u", "b_", "a", "b"), *columns("s.y", "a", "b", kind="attribute"),
        *columns("s.new", "a"), extension("e", "2"), extension("f", "1"), extension("new", "1"),
    )  # fmt: skip
    assert remarks(before, after) == (
        "columns of s.t: a, b, c -> c, new, a",
        "columns of s.y: b, a -> a, b",
        "extension e: version 1 -> 2",
    )
