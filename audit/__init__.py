"""Recounts everything from the archived facts, in two ways, and says where the published numbers differ."""
