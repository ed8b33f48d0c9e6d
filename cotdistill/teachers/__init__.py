"""Teachers: the calls made to them, their prompts, and the labelling of their answers."""
