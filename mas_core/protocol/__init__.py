"""The protocol of the server mode: the published .proto files, and what `make protocol` makes of them."""
