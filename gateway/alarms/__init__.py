"""Local alarms: when they are due, and how they get out."""
