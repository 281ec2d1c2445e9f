"""Images: the one door to them, and where they come from."""
