"""One connection: its settings, locks, limits and failures, and what looks at it from outside."""
