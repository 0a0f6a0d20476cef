"""Version 1 of the wire contract: `codec.proto` and the Python modules generated from it."""
