"""Training: audio folders in, a codec checkpoint out."""
