"""Comparison of runs on one HTML page with figures and charts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "charts": ["Line", "bar_chart", "line_chart"],
        "figures": ["Recorded", "figures", "read_recorded"],
        "page": ["page"],
    },
)
