"""Training on labels of 0 and 1: their balance, and the calibration of probabilities."""
