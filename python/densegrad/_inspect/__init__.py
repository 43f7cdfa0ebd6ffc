"""Looking inside a model: traces, checks of gradients, diagnosis."""
