"""Text from a model: continuous batching over a KV cache, contrast, sampling, choice scoring, the walk of a plan."""
