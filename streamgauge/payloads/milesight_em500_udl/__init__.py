"""Milesight EM500-UDL; see README.md."""
