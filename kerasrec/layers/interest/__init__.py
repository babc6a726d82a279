"""Layers that read a history for a candidate."""
