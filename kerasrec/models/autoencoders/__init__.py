"""Autoencoders: models trained to reconstruct the items of a user."""
