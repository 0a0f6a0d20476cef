"""The gRPC service around a codec, and the Python client that people copy."""
