"""An application that works while its tables are migrated, and what it says of it."""

from __future__ import annotations
