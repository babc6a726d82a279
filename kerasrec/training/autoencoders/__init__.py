"""Trainers of autoencoders, on one row per user."""
