"""How a student learns: micro-batches, the loss, the loop, checkpoints."""
