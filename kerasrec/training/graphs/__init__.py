"""Trainers that read the graph of the training rows."""
