"""Print the polynomial coefficients of ``float_math.hpp`` and ``softmax.hpp``.

Each polynomial is the minimax solution of a weighted problem, found by Remez exchange in 60
digits; its coefficients are then rounded to float32 one at a time, from the lowest degree up,
refitting those that remain. Needs mpmath. Run ``python cpp/tools/fit_polynomials.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np

mp.mp.dps = 60
Function = Callable[[mp.mpf], mp.mpf]


def remez(
    function: Function, weight: Function, low: float, high: float, powers: list[int]
) -> tuple[list[mp.mpf], mp.mpf]:
    """Return c with the least ``max |weight(x) (function(x) - sum c_i x**powers[i])|``."""
    n = len(powers)
    middle, half = mp.mpf(low + high) / 2, mp.mpf(high - low) / 2
    nodes = [middle - half * mp.cos(mp.pi * (i + mp.mpf(1) / 2) / (n + 1)) for i in range(n + 1)]
    grid = [middle - half * mp.cos(mp.pi * mp.mpf(i) / 600) for i in range(601)]
    for _ in range(25):
        system = mp.matrix(n + 1, n + 1)
        target = mp.matrix(n + 1, 1)
        for row, x in enumerate(nodes):
            for column, power in enumerate(powers):
                system[row, column] = x**power
            system[row, n] = (-1) ** row / weight(x)
            target[row] = function(x)
        solution = mp.lu_solve(system, target)
        coefficients = [solution[i] for i in range(n)]
        terms = list(zip(coefficients, powers, strict=True))
        errors = [weight(x) * (function(x) - sum(c * x**p for c, p in terms)) for x in grid]
        # One extremum from each run of errors of one sign.
        peaks: list[int] = []
        for i, error in enumerate(errors):
            if peaks and (error > 0) == (errors[peaks[-1]] > 0):
                if abs(error) > abs(errors[peaks[-1]]):
                    peaks[-1] = i
            else:
                peaks.append(i)
        while len(peaks) > n + 1:
            peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
        if len(peaks) < n + 1:
            break
        nodes = [grid[i] for i in peaks]
    return coefficients, max(abs(error) for error in errors)


def fit(name: str, function: Function, weight: Function, low: float, high: float, n: int) -> None:
    """Fit n coefficients, round each to float32 in turn, and print them."""
    rounded: list[tuple[int, float]] = []
    left = list(range(n))
    error = mp.mpf(0)
    while left:
        done = list(rounded)

        def rest(x: mp.mpf, done: list[tuple[int, float]] = done) -> mp.mpf:
            return function(x) - sum(mp.mpf(c) * x**p for p, c in done)

        coefficients, error = remez(rest, weight, low, high, left)
        rounded.append((left[0], float(np.float32(float(coefficients[0])))))
        left = left[1:]
    print(f"{name}: error {mp.nstr(error, 3)}")
    for power, c in rounded:
        print(f"  x^{power}: {float(c).hex()}  {c:.9g}")


def log_tail(f: mp.mpf) -> mp.mpf:
    """Return g with ``log(1 + f) = f - f**2 / 2 + f**3 g(f)``."""
    if abs(f) < mp.mpf("1e-12"):
        return mp.mpf(1) / 3 - f / 4
    return (mp.log1p(f) - f + f * f / 2) / f**3


def main() -> None:
    """Print all coefficients."""
    quarter = mp.pi / 2

    def odd(x: mp.mpf) -> mp.mpf:  # in the square: sin(pi/2 sqrt(s)) / sqrt(s)
        return quarter if x == 0 else mp.sin(quarter * mp.sqrt(x)) / mp.sqrt(x)

    one, half_octave = mp.mpf(1), float(mp.log(2)) / 2
    log_weight = lambda f: one if f == 0 else abs(f**3 / mp.log1p(f))  # noqa: E731
    root = lambda s: quarter * mp.sqrt(s)  # noqa: E731
    fit("log", log_tail, log_weight, 2**-0.5 - 1, 2**0.5 - 1, 7)
    fit("exp", mp.exp, lambda x: mp.exp(-x), -half_octave, half_octave, 7)
    fit("exp2", lambda x: mp.mpf(2) ** x, lambda x: mp.mpf(2) ** -x, -0.5, 0.5, 6)
    fit("sin(pi/2 x)/x in x^2", odd, lambda s: 1 / odd(s), 0.0, 0.25, 4)
    fit("cos(pi/2 x) in x^2", lambda s: mp.cos(root(s)), lambda s: one, 0.0, 0.25, 5)

    def tanh_tail(s: mp.mpf) -> mp.mpf:  # in the square: tanh(x) = x + x s g(s)
        x = mp.sqrt(s)
        return -mp.mpf(1) / 3 + 2 * s / 15 if s < mp.mpf("1e-12") else (mp.tanh(x) / x - 1) / s

    def erf_factor(s: mp.mpf) -> mp.mpf:  # in the square: erf(x) = x g(s)
        return 2 / mp.sqrt(mp.pi) if s == 0 else mp.erf(mp.sqrt(s)) / mp.sqrt(s)

    fit("tanh(x) - x over x^3 in x^2", tanh_tail, lambda s: s, 0.0, 0.390625, 5)
    fit("erf(x)/x in x^2", erf_factor, lambda s: 1 / erf_factor(s), 0.0, 1.0, 7)
    fit("log(1 - erf(x))", lambda x: mp.log(mp.erfc(x)), mp.erfc, 1.0, 4.0, 7)


if __name__ == "__main__":
    main()
