"""The server mode: agents reach the system through gRPC under mutual TLS, and hold no credential of the store."""
