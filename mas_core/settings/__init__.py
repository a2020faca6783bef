"""Files, environment, contexts and agent specs: where every other floor gets its settings from."""
