"""Whether a target is in order, and how it introduces itself."""
