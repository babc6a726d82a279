"""Recorded requests with the answers of the Keras model, and their replay."""
