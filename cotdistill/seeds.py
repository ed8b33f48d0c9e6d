"""Random draws that depend on their purpose, never on the order of events.

A draw is named by `(seed, purpose, id...)`: resuming, sharding, batching or reordering rows cannot change it.
"""

from __future__ import annotations

import hashlib
import random


def derive(seed: int, purpose: str, *ids: object) -> int:
    """A 63-bit integer that depends on every argument and on nothing else."""
    name = "\x1f".join([str(seed), purpose, *map(str, ids)])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def rng(seed: int, purpose: str, *ids: object) -> random.Random:
    """A private generator for one purpose and one thing, e.g. `rng(seed, "wrong-answer", example.id)`."""
    return random.Random(derive(seed, purpose, *ids))
