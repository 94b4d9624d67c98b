"""A small social network that never sleeps: seeded users who post, like, comment and change their minds."""
