"""Served graph: raw ids in; scores, lists and vectors out."""
