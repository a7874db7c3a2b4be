"""The procedural tabletop and the way from its scenes to token sequences."""
