"""A system behind a server: what an agent needs of its store, over the `Frames` service of the server mode."""
