"""Everything that one may set."""
