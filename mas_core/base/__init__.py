"""Clock, identifiers and back-off: what every floor above stands on."""
