"""How the `pocket` checkpoint was made: composed clips, losses, training loop, held-out score."""
