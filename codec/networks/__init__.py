"""Building blocks that several encoders and decoders share; all stream, with state as a value."""
