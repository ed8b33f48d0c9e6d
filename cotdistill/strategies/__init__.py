"""Strategies as data: forms, the registry, rewrites of rationales; one paper per file."""
