"""Dragino LDDS45; see README.md."""
