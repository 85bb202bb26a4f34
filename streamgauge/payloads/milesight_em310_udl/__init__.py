"""Milesight EM310-UDL; see README.md."""
