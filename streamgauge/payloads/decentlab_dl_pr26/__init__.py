"""Decentlab DL-PR26, pressure of a submersible probe: see README.md."""
