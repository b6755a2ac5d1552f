"""What a script is: its statements, and what stands in it for psql."""
