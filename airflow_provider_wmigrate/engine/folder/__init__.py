"""The folder: its files, its config, its graph."""
