"""The small quadratic programs of gradient aggregation, solved exactly: which weights bring a sum out of conflict.

Everything is said in the Gramian G = J J' of the gradients J, float64 numpy arrays, many problems at once.

1.  Guess who is above zero, for all problems together, by a few steps of accelerated projected gradient (Beck and
    Teboulle, SIAM Journal on Imaging Sciences 2009). That is matrix products alone.
2.  Exchange all that are wrong at once, and solve for the others, until nothing is wrong: block principal pivoting
    (Portugal, Júdice and Vicente, Mathematics of Computation 1994). One or two exchanges after such a guess.
3.  Pivoting may go in circles. A problem that is not done soon goes to the active set method, which cannot (Lawson and
    Hanson, Solving Least Squares Problems, 1974).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dposv, dpotrf
from scipy.optimize import nnls

Array = NDArray[np.float64]

_RIDGE = 1e-10  # of each diagonal value: makes the solution of dependent gradients unique and short
_GUESSES = 8
_EXCHANGES = 12
_CLOSE = 1e-9  # how much below zero counts as zero, for gradients of length 1


def project(gramian: Array, u: Array) -> Array:
    """(M, K) weights v >= u whose sum J'v is shortest, for M vectors u of (M, K).

    J'v is the projection of J'u onto the dual cone: the nearest vector that has no negative inner product with any row of J
    (Quinton and Rey, Jacobian Descent for Multi-Objective Optimization, 2024, proposition 1). (K,) gives (K,).
    """
    return u + nonnegative(gramian, u @ gramian)


def simplex(gramian: Array) -> Array:
    """(K,) weights, none negative, that add up to 1 and make the sum shortest; gradients of zeros get them all, in equal parts.

    min v'Gv + least (1'v - 1)^2 over v >= 0 has the same direction, and no constraint that couples.
    """
    squares = gramian.diagonal().clip(min=0)
    least = float(squares.min())
    v = nonnegative(gramian + least, np.full(len(gramian), -least)) if least > 0 else (squares == 0).astype(np.float64)
    found: Array = v / v.sum()
    return found


def nonnegative(gramian: Array, linear: Array) -> Array:
    """(M, K) s >= 0 that minimise s'Gs / 2 + q's, for M vectors q of (M, K); (K,) gives (K,).

    A row of zeros in G takes no part: its s is 0. q must be bounded below on that cone, as it is for every use here.
    """
    unit, inverse = cosines(gramian)
    unit[np.diag_indices_from(unit)] = 1 + _RIDGE
    q = np.atleast_2d(linear) * inverse
    largest = np.abs(q).max(initial=0.0)
    if largest == 0:
        return np.zeros_like(linear)
    found: Array = _solve(_definite(unit), q / largest) * inverse * largest
    return found.reshape(linear.shape)


def cosines(gramian: Array) -> tuple[Array, Array]:
    """(K, K) cosines between the gradients, and (K,) one over their lengths; both 0 for a gradient of zeros."""
    lengths = np.sqrt(gramian.diagonal().clip(min=0))
    inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return gramian * inverse * inverse[:, None], inverse


def _definite(unit: Array) -> Array:
    """`unit`, or what is nearest to it and positive definite: inner products of single precision may miss that by a little."""
    if dpotrf(unit)[1] == 0:
        return unit
    values, vectors = np.linalg.eigh(unit)
    found: Array = (vectors * values.clip(min=_RIDGE * len(unit))) @ vectors.T
    return found


def _solve(unit: Array, q: Array) -> Array:
    s = np.zeros_like(q)
    left, inside = np.arange(len(q)), _guess(unit, q)
    for _ in range(_EXCHANGES):
        if not len(left):
            return s
        tried = _inside(unit, q[left], inside)
        slope = tried @ unit + q[left]
        wrong = np.where(inside, tried < -_CLOSE, slope < -_CLOSE)
        done = ~wrong.any(1)
        s[left[done]] = tried[done].clip(min=0)
        left, inside = left[~done], (inside ^ wrong)[~done]
    for i in left:
        s[i] = _active_set(unit, q[i])
    return s


def _guess(unit: Array, q: Array) -> NDArray[np.bool_]:
    """(M, K) True where s may be above zero."""
    top = np.ones(len(unit))
    for _ in range(_GUESSES):
        top = unit @ top
        top /= np.linalg.norm(top) or 1.0
    rate = 1 / (1.05 * np.linalg.norm(unit @ top) + 1e-3)
    s = ahead = np.maximum(-rate * q, 0)
    momentum = 1.0
    for _ in range(_GUESSES):
        before, s = s, np.maximum(ahead - rate * (ahead @ unit + q), 0)
        later = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead, momentum = s + (momentum - 1) / later * (s - before), later
    return np.asarray(s > s @ unit + q)


def _inside(unit: Array, q: Array, inside: NDArray[np.bool_]) -> Array:
    """(M, K) s with slope 0 where `inside`, and 0 elsewhere."""
    s = np.zeros_like(q)
    for row, linear, chosen in zip(s, q, inside, strict=True):
        index = chosen.nonzero()[0]
        if len(index):
            row[index] = dposv(unit.take(index, 0).take(index, 1), -linear[index])[1]
    return s


def _active_set(unit: Array, q: Array) -> Array:
    """The same problem as least squares, with the Cholesky factor R for J: |Rs - b| with R'b = -q."""
    factor = np.linalg.cholesky(unit).T
    found: Array = nnls(factor, solve_triangular(factor, -q, trans="T"), maxiter=30 * len(q))[0]
    return found
