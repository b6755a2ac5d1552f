"""Thirty DAGs that use the shipped schema, to see whom a dropped column concerns."""
