"""A picture of a database's schema as facts, and what differs between two of them; reads only."""
