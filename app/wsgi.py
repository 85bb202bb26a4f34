"""The web processes: pages, live WebSocket and JSON API. ``gunicorn -c app/gunicorn_conf.py app.wsgi:application``."""

import os

from app import create_app
from streamgauge.logs import configure
from streamgauge.settings import WebSettings, load

settings = load(WebSettings, os.environ)
configure("web", settings.log_level)
application = create_app(settings, "web")
