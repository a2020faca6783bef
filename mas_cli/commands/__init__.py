"""One file per noun; a command knows no other command."""
