"""The parts of an ablation: its cells, the rows they train on, what stands beside them, and who runs them."""
