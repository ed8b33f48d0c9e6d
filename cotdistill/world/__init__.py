"""The embedded world: questions made from a seed, their true rationales, and a checker of every step."""
