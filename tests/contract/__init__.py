"""The names that others rely on: settings, topics, tables, metrics, addresses."""
