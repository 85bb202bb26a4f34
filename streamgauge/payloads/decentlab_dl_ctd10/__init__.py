"""Decentlab DL-CTD10, depth, temperature and conductivity: see README.md."""
