"""Models that are computed from the training rows instead of trained by gradients."""
