"""Jobs at rest: an SQLite database and the uploads beside it, shared by all replicas."""
