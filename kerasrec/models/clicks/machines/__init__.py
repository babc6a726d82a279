"""Factorization machines and models made of them."""
