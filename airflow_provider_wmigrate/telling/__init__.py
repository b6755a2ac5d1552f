"""Engine events and records in Airflow's words: task log, metrics, lineage, summaries."""
