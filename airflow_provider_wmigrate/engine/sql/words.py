"""A cheap look whether a text has one of many words. Pure."""

from __future__ import annotations

import re
from functools import cached_property

_SHORT = 64 * 1024
"""Characters of a text of which a copy costs nothing."""


class Words:
    """What a script may say, in any case.

    To look for many words at once costs Python much more than to look for a few fragments of them, and so does to
    prepare it. So the fragments are looked for first: few scripts have one.

    :param pattern: a regular expression.
    :param fragments: in lower case; whatever the pattern matches has one of them.
    """

    def __init__(self, pattern: str, *fragments: str) -> None:
        self._text, self._fragments = pattern, fragments

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self._text, re.IGNORECASE)

    def within(self, text: str) -> bool:
        """Whether a text has one of the words."""
        if len(text) <= _SHORT:
            small = text.lower()
            if not any(fragment in small for fragment in self._fragments):
                return False
        return self.pattern.search(text) is not None
