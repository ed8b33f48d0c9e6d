"""Answers: extracted from a text and compared with the gold answer."""
