"""The API processes: the JSON API alone. ``gunicorn -c app/gunicorn_conf.py app.api_wsgi:application``."""

import os

from app import create_app
from streamgauge.logs import configure
from streamgauge.settings import WebSettings, load

settings = load(WebSettings, os.environ)
configure("api", settings.log_level)
application = create_app(settings, "api")
