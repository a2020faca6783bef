"""The stages a message passes through, one file each."""
