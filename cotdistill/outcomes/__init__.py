"""Outcomes of single items, read from the files of any evaluation tool, and joined across sides."""
