"""Milesight EM500-PP; see README.md."""
