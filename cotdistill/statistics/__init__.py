"""Intervals, paired tests and effect sizes over outcomes; arrays in, estimates out."""
