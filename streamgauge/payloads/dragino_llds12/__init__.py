"""Dragino LLDS12; see README.md."""
