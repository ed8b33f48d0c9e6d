"""cotdistill: compare ways to distil chain-of-thought reasoning into a small language model."""

__version__ = "0.1.0"
