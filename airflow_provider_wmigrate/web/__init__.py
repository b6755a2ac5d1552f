"""The REST API and the page "Migrations", mounted into Airflow by a plugin. Nothing is imported here."""

from __future__ import annotations
