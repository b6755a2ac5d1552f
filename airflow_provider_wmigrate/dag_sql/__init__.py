"""Where DAGs have their SQL: in files, in serialized DAGs, in rendered fields. Loads no Airflow."""
