"""Decentlab DL-MBX, ultrasonic distance: see README.md."""
