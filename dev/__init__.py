"""Tools of the checkout: a throw-away PostgreSQL, a throw-away Airflow, and the demo made of both."""
