"""Items that come in groups (questions on one passage, variants of one template): what is summed within a group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Groups = NDArray[np.int64]  # the group of each item, from 0


def groups_of(clusters: Sequence[str], items: int) -> Groups:
    """The clusters' names [items] as numbers from 0.

    Raises:
        ValueError: there is not a cluster for each item, or all items are of one cluster.
    """
    if len(clusters) != items:
        raise ValueError(f"every item needs a cluster, got {len(clusters)} for {items} items")
    groups: Groups = np.unique(np.asarray(clusters), return_inverse=True)[1].astype(np.int64)
    if groups.max(initial=0) == 0:
        raise ValueError("all items are of one cluster: nothing tells how far another would differ")
    return groups


def group_sums(values: NDArray[np.float64], groups: Groups) -> NDArray[np.float64]:
    """Sums of `values` [..., items] within each group, [..., groups]."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    sums: NDArray[np.float64] = np.add.reduceat(values[..., order], starts, axis=-1)
    return sums
