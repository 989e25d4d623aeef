"""How pocket's words are trained: drawn scenes of named, coloured things, and what finds them."""
