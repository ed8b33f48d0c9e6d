"""Measuring students: answers, metrics, faithfulness probes and the statistics under them."""
