"""Conversion of models from and to other libraries."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"tfrs": ["fill_tfrs_index", "from_tfrs", "import_tfrs"]},
)
