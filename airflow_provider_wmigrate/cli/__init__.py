"""The command line: `wmigrate`, which never loads Airflow, and `airflow wmigrate`, with the same verbs from one table.

`verbs` is that table. `main` turns words into a call of one verb, `airflow_commands` hands the table to Airflow. A
verb is a function that takes a `Call` and gives an `Answer`: values for programs, and how a person sees them. The
answer goes to stdout; progress, questions and errors go to stderr.
"""
