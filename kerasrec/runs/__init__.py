"""Training of any model by what it can do, and the directory that holds the result."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "_train": ["fit", "train"],
        "choosing.choices": ["choose"],
        "choosing.nested": ["cross_validate_choice"],
        "directory": ["read_run"],
        "recipes": ["recipe"],
        "choosing.successive_halving": ["search"],
        "settings": ["Training"],
    },
)
