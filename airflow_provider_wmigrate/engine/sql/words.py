"""A cheap look whether a text has one of many words. Pure."""

from __future__ import annotations

import re
from functools import cached_property

_SHORT = 64 * 1024
"""Characters of a text of which a copy costs nothing."""


class Words:
    """What a script may say, in any case.

    To look for many words at once costs Python much more than to look for a few pieces, and so does to prepare it. So
    the pieces are looked for first: few scripts have one.

    :param pattern: a regular expression.
    :param pieces: in lower case; whatever the pattern matches has one of them.
    """

    def __init__(self, pattern: str, *pieces: str) -> None:
        self._text, self._pieces = pattern, pieces

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self._text, re.IGNORECASE)

    def within(self, text: str) -> bool:
        """Whether a text has one of the words."""
        return self.may_be_within(text) and self.pattern.search(text) is not None

    def may_be_within(self, text: str) -> bool:
        """Whether it has one of the pieces. Of a long text it is not known."""
        if len(text) > _SHORT:
            return True
        small = text.lower()
        return any(piece in small for piece in self._pieces)
