"""What people look at: tables on stderr, figures, pages."""
