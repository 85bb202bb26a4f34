"""Milesight EM400-UDL; see README.md."""
