"""How a script is run and recorded."""
