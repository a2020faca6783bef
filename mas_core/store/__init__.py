"""The store: the only floor that imports redis and the only one that names a key."""
