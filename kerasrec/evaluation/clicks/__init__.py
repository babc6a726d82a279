"""Metrics, curves, intervals and segments of predicted clicks."""
