"""A page for browsers that generates cells from an artifact by itself."""

from vaexprs.web.site import write_site

__all__ = ["write_site"]
