"""The codec itself: audio → encoder → quantizer → codes → decoder → audio."""
