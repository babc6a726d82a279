"""Polynomials and eigenvectors of spectral filters."""

import numpy as np
import scipy.sparse
import scipy.sparse.linalg


def chebyshev_coefficients(order: int, flatness: float) -> list[float]:
    """Return the coefficients of T_0 to T_order of the polynomial through the response.

    Args:
        order: degree of the polynomial.
        flatness: exponent of the response.
    """
    nodes = np.cos(np.pi * np.arange(order + 1) / order)
    nodes[np.abs(nodes) < 1e-12] = 0
    response = 0.5 + 0.5 * np.sign(nodes) * np.abs(nodes) ** flatness
    found: list[float] = np.polynomial.chebyshev.chebfit(nodes, response, order).tolist()
    return found


def singular_vectors(matrix: scipy.sparse.csr_matrix, rank: int) -> np.ndarray:
    """Return the right singular vectors `(columns, rank)` of the largest singular values.

    Args:
        matrix: a sparse matrix.
        rank: number of vectors; of a smaller matrix, all of them are returned.
    """
    if rank >= min(matrix.shape):
        return np.linalg.svd(matrix.toarray(), full_matrices=False)[2].T
    start = np.random.default_rng(0).normal(size=min(matrix.shape))
    _, values, vectors = scipy.sparse.linalg.svds(matrix, rank, v0=start)
    return vectors[np.argsort(-values)].T


def powers(degrees: np.ndarray, exponent: float) -> np.ndarray:
    """Return powers of degrees, 0 of ids without rows.

    Args:
        degrees: numbers of rows.
        exponent: may be negative.
    """
    return np.power(degrees, exponent, out=np.zeros_like(degrees), where=degrees > 0)
