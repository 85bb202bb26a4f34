"""Milesight EM400-MUD; see README.md."""
