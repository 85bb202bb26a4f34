"""The installer's page: what it is told, how that is put into words, and the WSGI application that serves it."""
