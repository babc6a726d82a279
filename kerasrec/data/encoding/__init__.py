"""Encoding of interactions to numpy columns: vocabularies, schema, histories."""
