"""Decentlab DL-LID, laser distance: see README.md."""
