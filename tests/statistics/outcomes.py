"""Outcomes to test the statistics on."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st


def random_outcomes(seeds: int, items: int, share: float, seed: int) -> np.ndarray:
    """A grid [seeds, items] of 0/1 with seed and item effects."""
    generator = np.random.default_rng(seed)
    chance = share + 0.05 * generator.standard_normal((seeds, 1)) + 0.2 * generator.standard_normal(items)
    return (generator.random((seeds, items)) < chance).astype(int)


def discordant(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Two lists of 0/1 outcomes with the given 2 x 2 table."""
    a = np.repeat([1, 1, 0, 0], [both, only_a, only_b, neither])
    b = np.repeat([1, 0, 1, 0], [both, only_a, only_b, neither])
    return a, b


pairs = st.integers(0, 2**31).flatmap(
    lambda seed: st.tuples(st.integers(1, 6), st.integers(2, 40), st.floats(0, 1), st.booleans()).map(
        lambda shape: (
            random_outcomes(shape[0], shape[1], shape[2], seed) * (1.0 if shape[3] else 0.3),
            random_outcomes(shape[0], shape[1], 0.5, seed + 1) * (1.0 if shape[3] else 0.3),
        )
    )
)
