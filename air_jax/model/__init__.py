"""AIR itself: networks, rendering, likelihoods, the roll-out and its bound."""
