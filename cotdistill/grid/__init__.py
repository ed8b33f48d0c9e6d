"""The parts of an ablation: its cells, the rows they train on, their references, and the executors that run them."""
