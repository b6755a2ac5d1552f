"""What a person decides, carried out without running a script."""
