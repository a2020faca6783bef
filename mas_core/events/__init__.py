"""Events: handing them to whoever in this process wants them, keeping them, and playing them again."""
