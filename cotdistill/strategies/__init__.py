"""What is learned, as data: forms, the registry, rewrites of rationales; one paper a file."""
