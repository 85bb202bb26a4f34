"""Milesight EM500-SWL; see README.md."""
