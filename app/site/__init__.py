"""What people keep of a site: notes and photos."""

from app.site.routes import blueprint

__all__ = ["blueprint"]
