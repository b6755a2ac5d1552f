"""Pure: decisions over values. Nothing here asks a database."""
