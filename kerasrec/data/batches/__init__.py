"""Batches of encoded columns that fit in memory."""
