"""What other tools keep: their tables as applied migrations, their folders as ours. Pure; each tool has a file."""
