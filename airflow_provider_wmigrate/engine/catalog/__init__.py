"""What the target's catalogs say. Reads only, apart from clearing up behind a failed statement."""
