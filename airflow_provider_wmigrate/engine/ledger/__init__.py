"""The tables in which the target database remembers."""
