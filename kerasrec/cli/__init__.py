"""The command line: `kerasrec fit`, `kerasrec export` and others, see `kerasrec`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"app": ["main"]})
