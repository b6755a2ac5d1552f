"""Who uses what a migration takes away: by what the server knows, and by texts of functions, tasks, programs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.relations import Thing
from airflow_provider_wmigrate.engine.catalog.users import Counted, DatabaseUsers, Function
from airflow_provider_wmigrate.engine.sql.named import names_in
from airflow_provider_wmigrate.engine.sql.pieces import has_word
from airflow_provider_wmigrate.engine.sql.query_scope import Table, Use, table_of
from airflow_provider_wmigrate.engine.sql.read_sql import UNKNOWN, ReadSql, is_template, read_function, read_sql
from airflow_provider_wmigrate.engine.usage import GRADES, Gone, Grade, Through, User, best

from .going import Going


class Source(Struct, frozen=True, dict=True):
    """Something with texts of SQL: a task, a file, a function.

    :param texts: as they stand there, or as the last run has rendered them.
    :param surest: the best grade that it can have, if not this database is meant for sure.
    :param words: further texts in which names may stand, which are no SQL.
    """

    kind: str
    name: str
    texts: tuple[str, ...]
    surest: Grade = "certain"
    words: tuple[str, ...] = ()
    path: tuple[str, ...] | None = None
    function: Function | None = None

    @cached_property
    def whole(self) -> str:
        return "\n".join((*self.texts, *self.words))

    @cached_property
    def read(self) -> tuple[ReadSql, ...]:
        """Each text."""
        if self.function is not None:
            rows = dict.fromkeys(("new", "old"), self.function.tables) if self.function.tables else {}
            return (read_function(self.function.definition, self.function.language, rows),)
        return tuple(read_sql(text) for text in self.texts)


class Known(Struct, frozen=True):
    """:param path: in which schemas a name without one is looked for.
    :param columns: which relations have a column of one of the names that go; None: it is not known.
    """

    path: tuple[str, ...] = ()
    columns: frozenset[tuple[Table, str]] | None = None


def words_of(gone: Iterable[Gone]) -> set[str]:
    """The names by which something that goes is found in a text."""
    return {name for each in gone for name in (each.name, each.column) if name}


# What the server knows


def by_dependency(going: Going, found: DatabaseUsers) -> Iterator[User]:
    """What depends on the things, and so surely uses them."""
    of = dict[Thing, Gone]()
    for thing, known in zip(going.things, going.gone, strict=True):
        of.setdefault(thing, known)
    falling = {(gone.schema, gone.name) for gone in going.gone if gone.action == "drop" and not gone.column}
    for thing, dependent in found.dependents:
        gone = of.get(thing)
        if gone is not None and tuple(dependent.name.split(".")) not in falling:
            yield User(gone.what, dependent.kind, dependent.name, "certain", _effect(gone))


def _effect(gone: Gone) -> str:
    if gone.action == "rename":
        return f"{_EFFECT} and follows the new name"
    if gone.action == "retype":
        return f"{_EFFECT}, and the server refuses a new type below a view or a rule"
    return f"{_EFFECT}: the server refuses the drop, or CASCADE takes it along"


_EFFECT = "it depends on it"


def functions_of(found: DatabaseUsers) -> Iterator[Source]:
    """The functions as sources; their bodies are bound to names only when they run, so that none of them is certain."""
    for each in found.functions:
        if each.language in ("sql", "plpgsql"):
            yield Source(each.kind, each.name, (each.definition,), "likely", path=each.path, function=each)
        else:
            yield Source(each.kind, each.name, (), "perhaps", words=(each.definition,))


def by_statements(all_gone: Iterable[Gone], found: DatabaseUsers, known: Known) -> Iterator[User]:
    """What pg_stat_statements has counted, by role; never a text of it."""
    for gone in all_gone:
        counted: dict[tuple[str, Grade], list[Counted]] = {}
        for each in found.statements:
            read = _read_counted(each.text)
            grade = _best_of(gone, Source("", "", (each.text,), "likely"), (read,), known)[0] if read else None
            if grade is not None:
                counted.setdefault((each.role, grade), []).append(each)
        for (role, grade), mine in counted.items():
            calls = sum(each.calls for each in mine)
            since = f" since {found.since[:16]}" if found.since else ""
            many = f"{len(mine)} statement{'s' if len(mine) > 1 else ''}, {calls:,} call{'s' if calls > 1 else ''}"
            yield User(gone.what, "statements", f"of role {role}", grade, f"{many}{since}")


_ROWS = re.compile(r"^\s*(?:select|insert|update|delete|with|merge|copy|table|declare)\b", re.IGNORECASE)


def _read_counted(text: str) -> ReadSql | None:
    """None: it is none that reads or writes rows, such as the migration that has made the table."""
    return read_sql(text) if _ROWS.match(text) else None


# What texts say


def by_texts(gone: Iterable[Gone], sources: Iterable[Source], known: Known) -> tuple[User, ...]:
    """Users by what they have written."""
    found = []
    every = [*gone]
    for source in sources:
        for each in every:
            if _worth_reading(each, source):
                grade, why = _best_of(each, source, source.read, known)
                if grade is not None:
                    found.append(User(each.what, source.kind, source.name, grade, why))
    return best(found)


def _worth_reading(gone: Gone, source: Source) -> bool:
    """Whether one of the names stands in it, or a name that only a run knows."""
    name = gone.column or gone.name
    if has_word(source.whole, name) or (gone.column and has_word(source.whole, gone.name)):
        return True
    return is_template(source.whole)


def _best_of(gone: Gone, source: Source, all_read: Sequence[ReadSql], known: Known) -> tuple[Grade | None, str]:
    found = list[tuple[Grade, str]]()
    for read in all_read:
        path = read.path or source.path or known.path
        for use in read.uses:
            graded = _graded(use, gone, replace(known, path=path))
            if graded is not None:
                found.append(_weaker(graded, "likely", "variables are filled in") if read.filled else graded)
    if not found:
        words = _by_words(gone, source, all_read)
        found = [words] if words else []
    if not found:
        return None, ""
    grade, why = min(found, key=lambda each: GRADES.index(each[0]))
    return max(grade, source.surest, key=GRADES.index), why


def _weaker(graded: tuple[Grade, str], to: Grade, because: str) -> tuple[Grade, str]:
    grade, why = graded
    return (to, f"{why}; {because}") if GRADES.index(to) > GRADES.index(grade) else graded


def _graded(use: Use, gone: Gone, known: Known) -> tuple[Grade, str] | None:
    """What one use says of one thing; None: it is another one."""
    wanted = _HOW.get(gone.kind)
    if (use.how == "function" and wanted != "function") or (wanted is not None and use.how != wanted):
        return None
    where = _same(use, gone, known)
    if where is None:
        return None
    if not gone.column:
        return _weaker(("certain" if use.sure else "likely", "it names it"), *where)
    if use.how == "column":
        if UNKNOWN in use.column:
            return "perhaps", "a column in it is a variable"
        if use.column != gone.column:
            return None
        return _weaker(_of_column(use, gone, known), *where)
    if use.how == "rows":
        return _weaker(("likely", "it relies on how many columns there are"), *where)
    if use.how == "star":
        return _weaker(("perhaps", "it reads all columns (*)"), *where)
    return None


_HOW = {"function": "function", "rows": "written"}
"""By kind of what goes, the only use that counts."""


def _of_column(use: Use, gone: Gone, known: Known) -> tuple[Grade, str]:
    if not use.sure:
        return "likely", "it names it"
    others = [table for table in use.among if _may_have(table, gone.column, known)]
    if others:
        return "likely", f"it names {gone.column}, which may be of {others[0][1]} too"
    return "certain", "it names it"


def _may_have(table: Table, column: str, known: Known) -> bool:
    if known.columns is None:
        return True
    schemas = (table[0],) if table[0] else known.path
    return UNKNOWN in table[1] or any(((schema, table[1]), column) in known.columns for schema in schemas)


def _same(use: Use, gone: Gone, known: Known) -> tuple[Grade, str] | None:
    """How sure it is that the use means this relation, and why not more; None: it means another."""
    if UNKNOWN in use.name or UNKNOWN in use.schema:
        return _perhaps_same(use, gone)
    if use.name != gone.name:
        return None
    if use.schema:
        return ("certain", "") if use.schema == gone.schema else None
    if gone.schema in known.path:
        return "certain", ""
    return "perhaps", f"only with {gone.schema} in its search path"


def _perhaps_same(use: Use, gone: Gone) -> tuple[Grade, str] | None:
    written = [(use.schema, gone.schema), (use.name, gone.name)]
    fits = all(not mine or re.fullmatch(".*".join(map(re.escape, mine.split(UNKNOWN))), real) for mine, real in written)
    if not fits:
        return None
    only_schema = use.name == gone.name
    grade: Grade = "likely" if only_schema else "perhaps"
    # A name of which nothing is known says nothing but with the column that it has.
    if use.name == UNKNOWN and use.how != "column":
        return None
    return grade, "a name in it is a variable"


def _by_words(gone: Gone, source: Source, all_read: Sequence[ReadSql]) -> tuple[Grade, str] | None:
    """The words alone, where not everything could be read."""
    unread = "\n".join((*source.words, *(text for read in all_read for text in read.unread)))
    if gone.kind == "rows" and source.texts and not _WRITES.search(unread):
        return None
    if not gone.column:
        return ("perhaps", "the name stands in a text that is no SQL") if has_word(unread, gone.name) else None
    table = has_word(unread, gone.name) or UNKNOWN in unread or is_template(unread)
    return ("perhaps", "the words stand in a text that is no SQL") if table and has_word(unread, gone.column) else None


_WRITES = re.compile(r"\b(?:insert|update|delete|merge|copy|truncate)\b", re.IGNORECASE)


# From function to function


def by_arguments(all_gone: Iterable[Gone], found: DatabaseUsers) -> tuple[list[User], list[Through]]:
    """Triggers whose function is told the column's name, and the tables whose changes set them off."""
    users, through = [], []
    for gone in all_gone:
        for table, name, argument in found.told_triggers:
            if table == (gone.schema, gone.name) and argument == gone.column:
                on = f"{name} on {'.'.join(table)}"
                users.append(User(gone.what, "trigger", on, "perhaps", "its function is given this name"))
                through.append(Through(_as_gone("rows", table), gone.what, "perhaps"))
    return users, through


def through_functions(users: Iterable[User], found: DatabaseUsers, all_gone: Iterable[Gone]) -> Iterator[Through]:
    """What uses a thing and has users of its own: functions, tables whose trigger one of these is, and views."""
    functions = {each.name: each for each in found.functions}
    of = {gone.what: gone for gone in all_gone}
    for user in users:
        kind = _HAVE_USERS.get(user.kind)
        if kind is None or (kind == "view" and user.why.startswith(_EFFECT)):
            continue  # a view that the drop takes along is something that goes itself
        yield Through(_as_gone(kind, table_of(names_in(user.name.partition("(")[0]))), user.gone, user.grade)
        function = functions.get(user.name)
        for table in sorted(_fired(function, of.get(user.gone)) if function else ()):
            yield Through(_as_gone("rows", table), user.gone, user.grade)


def _fired(function: Function, gone: Gone | None) -> frozenset[Table]:
    """The tables whose trigger fails: of one that uses nothing but the row that it is called for, the row's own."""
    if gone is None or (gone.schema, gone.name) not in function.tables:
        return function.tables
    known = Known((gone.schema,))
    alone = read_function(function.definition, function.language, {})
    if alone.unread or any(_graded(use, gone, known) for use in alone.uses):
        return function.tables
    return frozenset({(gone.schema, gone.name)})


_HAVE_USERS = {"function": "function", "procedure": "function", "view": "view", "materialized view": "view"}


def functions_among(users: Iterable[User], found: DatabaseUsers) -> dict[Thing, tuple[User, ...]]:
    """The functions of these users, as the catalogs know them."""
    things = {each.name: Thing("pg_proc", each.oid) for each in found.functions}
    things |= {each.name: each.thing for _, each in found.dependents if each.thing.catalog == "pg_proc"}
    by_thing: dict[Thing, tuple[User, ...]] = {}
    for user in users:
        if user.name in things:
            by_thing[things[user.name]] = (*by_thing.get(things[user.name], ()), user)
    return by_thing


def by_functions(functions: Mapping[Thing, tuple[User, ...]], found: DatabaseUsers) -> Iterator[User]:
    """What depends on functions that use something: it fails when it calls them."""
    for thing, dependent in found.dependents:
        for user in functions.get(thing, ()):
            why = f"through {user.kind} {user.name}: it depends on it"
            yield User(user.gone, dependent.kind, dependent.name, user.grade, why)


def _as_gone(kind: str, table: Table) -> Gone:
    return Gone("", 0, "drop", kind, *table)


def by_texts_through(through: Iterable[Through], sources: Iterable[Source], known: Known) -> tuple[User, ...]:
    """Users of what uses something: never surer than that use is."""
    by_user: dict[Gone, list[Through]] = {}
    for each in through:
        by_user.setdefault(each.user, []).append(each)
    found = []
    all_sources = [*sources]
    for user, ways in by_user.items():
        said = f"a trigger on {user.place}" if user.kind == "rows" else user.what
        for using in by_texts([user], all_sources, known):
            for way in ways:
                grade = max(using.grade, way.grade, key=GRADES.index)
                found.append(User(way.of, using.kind, using.name, grade, f"through {said}: {using.why}"))
    return best(found)


def unread_names(sources: Iterable[Source]) -> Mapping[str, int]:
    """Of each kind, how many sources have names that only a run knows."""
    found: dict[str, int] = {}
    for source in sources:
        if any(use.name == UNKNOWN for read in source.read for use in read.uses):
            found[source.kind] = found.get(source.kind, 0) + 1
    return found
