"""Batches from files that are larger than memory."""
