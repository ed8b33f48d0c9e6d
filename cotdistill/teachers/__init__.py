"""Teachers: what is asked of them, in which words, and what their answers are worth."""
