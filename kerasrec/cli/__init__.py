"""The command line: `kerasrec audit | fit | evaluate | recommend | export | verify | demo`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"app": ["main"]})
