"""Decentlab DL-RAD, radar distance: see README.md."""
