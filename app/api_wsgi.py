"""The API processes: the JSON API alone. ``gunicorn -c app/gunicorn_conf.py app.api_wsgi:application``."""

import os

from app import create_app
from streamgauge.settings import WebSettings, load

application = create_app(load(WebSettings, os.environ), "api")
