"""Command line interface: `kerasrec fit`, `kerasrec export` and others."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"app": ["main"]})
