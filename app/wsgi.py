"""The web processes: pages, live WebSocket and JSON API. ``gunicorn -c app/gunicorn_conf.py app.wsgi:application``."""

import os

from app import create_app
from streamgauge.settings import WebSettings, load

application = create_app(load(WebSettings, os.environ), "web")
