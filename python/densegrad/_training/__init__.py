"""Training: steps, epochs, and what goes with them."""
