"""A backup before something is taken away: made, looked at, kept, recorded, and deleted when it is old."""
