"""Layers that make one vector of each feature, or weights of several."""
