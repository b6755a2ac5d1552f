"""The engine: a folder of SQL files and a ledger, in pure Python and psycopg. It knows neither Airflow nor the web."""
