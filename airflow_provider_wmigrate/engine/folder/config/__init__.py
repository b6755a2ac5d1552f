"""migration_config.yaml -> frozen values. Every key is known and has a meaning; every mistake has its line.

`settings`, `migrations`, and the rest of the file's keys in `root`: they are the format, in plain classes, since every
command and every parse of a DAG file loads them. The way of a file: `yaml_lines` reads it into `yaml_nodes`, which know
their line; `values` has the format take them and says what is wrong; `contradictions` says what is wrong although each
key by itself is right.
"""
