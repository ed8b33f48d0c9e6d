"""What comes from outside, in one file each: strategies, rewrites of rationales, divergences of --kd, teachers,
data sets, probes, extractors, trackers, checkers.

    from cotdistill.plugins import checker, data_set, divergence, extractor, probe, rewrite, strategy, teacher, tracker

A file is loaded by `--plugin FILE` (repeatable), a package by its entry-point groups `cotdistill.strategies`,
`.rewrites`, `.divergences`, `.teachers`, `.data`, `.probes`, `.extractors`, `.trackers` and `.checkers`. What this
package ships registers in the same way; `cotdistill plugins` lists all of it.
"""

from cotdistill.plugins.checkers import Checker, RationaleCheck, Step
from cotdistill.plugins.data_sets import DataSet
from cotdistill.plugins.kinds import (
    checker,
    data_set,
    divergence,
    extractor,
    probe,
    rewrite,
    strategy,
    teacher,
    tracker,
)

__all__ = [
    "Checker",
    "DataSet",
    "RationaleCheck",
    "Step",
    "checker",
    "data_set",
    "divergence",
    "extractor",
    "probe",
    "rewrite",
    "strategy",
    "teacher",
    "tracker",
]
