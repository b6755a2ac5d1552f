"""The blast radius of a plan: who uses what its scripts take away under its name. It looks at the database, at what it
is given of the world around it, and says where nobody has looked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import psycopg
from msgspec.structs import replace
from psycopg import Connection

from .catalog.relations import RelationFacts
from .catalog.users import users_in_database
from .foreseen import Forecast
from .plan.blast import (
    Known,
    Source,
    by_arguments,
    by_dependency,
    by_functions,
    by_statements,
    by_texts,
    by_texts_through,
    functions_among,
    functions_of,
    through_functions,
    unread_names,
    words_of,
)
from .plan.forecast import Ahead
from .plan.going import Going, going, may_take
from .usage import BlastRadius, Through, User

ALWAYS_UNSEEN = "names that functions and programs put together only when they run"
_ROUNDS = 4
"""How far a use is followed from function to function."""


class Found(NamedTuple):
    """:param sources: that may use something.
    :param unseen: what could not be looked at.
    """

    sources: Sequence[Source] = ()
    unseen: tuple[str, ...] = ("the DAGs of Airflow",)


Elsewhere = Callable[[frozenset[str]], Found]
"""Given the names that go, who has them in a text outside of the database."""


def with_blast(
    conn: Connection[Any], made: tuple[Forecast, ...], scripts: Callable[[], Iterable[Ahead]], facts: RelationFacts,
    elsewhere: Elsewhere | None,
) -> tuple[Forecast, ...]:  # fmt: skip
    """The forecasts of scripts, with who uses what they take away.

    :param facts: of a moment before the first one.
    """
    if not may_take(scripts()):
        return made
    found = blast_radius(conn, going(scripts(), facts), facts.path, elsewhere)
    return tuple(replace(each, blast=found.get(each.version)) for each in made)


def blast_radius(
    conn: Connection[Any], all_going: Mapping[str, Going], path: tuple[str, ...], elsewhere: Elsewhere | None = None
) -> dict[str, BlastRadius]:
    """By version, of those that take something away, or of which nobody can see it.

    :param path: in which schemas the role of the connection looks for a name.
    """
    made, known = dict[str, BlastRadius](), Known(path)
    for version, each in all_going.items():
        if each.gone:
            try:
                made[version], known = _in_database(conn, each, path)
            except psycopg.errors.QueryCanceled:
                unseen = (*each.hidden, "the database: its catalogs did not answer in time")
                made[version] = BlastRadius(each.gone, unseen=unseen, path=path)
        elif each.hidden:
            made[version] = BlastRadius(unseen=each.hidden)
    words = frozenset(word for found in made.values() for word in words_around(found))
    outside = (elsewhere(words) if elsewhere else Found()) if words else Found()
    return {v: users_elsewhere(each, outside, known) if each.gone else each for v, each in made.items()}


def words_around(radius: BlastRadius) -> set[str]:
    """The names by which it is found who uses something, or what uses it."""
    return words_of((*radius.gone, *(through.user for through in radius.through)))


def users_elsewhere(radius: BlastRadius, found: Found, known: Known | None = None) -> BlastRadius:
    """Also what is outside of the database.

    :param known: None: it is not known what the database has besides.
    """
    known = known or Known(radius.path)
    users = (*by_texts(radius.gone, found.sources, known), *by_texts_through(radius.through, found.sources, known))
    return radius.with_more(users, (*found.unseen, *_unread(found.sources), ALWAYS_UNSEEN))


def _in_database(conn: Connection[Any], taken: Going, path: tuple[str, ...]) -> tuple[BlastRadius, Known]:
    inside = users_in_database(conn, taken.things, words_of(taken.gone))
    known, sources = Known(path, inside.columns), [*functions_of(inside)]
    by_text = by_texts(taken.gone, sources, known)
    users: list[User] = [*by_dependency(taken, inside), *by_statements(taken.gone, inside, known), *by_text]
    told, new = by_arguments(taken.gone, inside)
    through = list[Through]()
    found, more = users, inside
    users, new = [*users, *told], [*new, *through_functions(users, inside, taken.gone)]
    for _ in range(_ROUNDS):
        through += new
        if not new:
            break
        calling = functions_among(found, more)
        more = users_in_database(conn, calling, words_of(each.user for each in new), statements=False)
        found = [*by_functions(calling, more), *by_texts_through(new, functions_of(more), known)]
        users = [*users, *found]
        seen = {(each.user, each.of) for each in through}
        new = [each for each in through_functions(found, more, ()) if (each.user, each.of) not in seen]
    radius = BlastRadius(taken.gone, through=tuple(through), path=path)
    return radius.with_more(users, (*taken.hidden, *inside.unseen)), known


def _unread(sources: Sequence[Source]) -> Iterator[str]:
    for kind, number in unread_names(sources).items():
        yield f"tables of {number} {kind}{'s' if number > 1 else ''}, which only a run names"
