"""``GET /api/v1/docs``: the document as a page to read and to try calls from; it needs no network but this server's."""

from flask import Response, render_template

from app.api.blueprint import blueprint
from app.declared import public
from app.templating import asset


@blueprint.get("/docs")
@public
def show_docs() -> Response:
    """The page; it reads the document by itself. Whoever is signed in to the pages may try what only reads."""
    return Response(
        render_template("api/docs.html", asset=asset, title="Streamgauge API"), content_type="text/html; charset=utf-8"
    )
