"""Output for people: tables on stderr, figures, pages."""
