"""The student: text to tensors, the training loop, decoding and the walk.

Shapes: B rows of a micro-batch, T token positions, S encoder positions, P positions whose logits are needed,
N targets (several may share one position), V vocabulary, k contexts of one question.
"""
