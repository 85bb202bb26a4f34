"""Decentlab DL-PR21, pressure with pipe thread: see README.md."""
