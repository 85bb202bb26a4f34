"""The gateway's memory through an outage: one SQLite file, and the one thread that writes it."""
