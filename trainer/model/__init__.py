"""The model: tokens, Chameleon decoder, ActionHead, the whole VLA, the energy model."""
