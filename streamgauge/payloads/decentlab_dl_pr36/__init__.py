"""Decentlab DL-PR36, pressure of a high-precision probe: see README.md."""
