"""The network: one stream class, two instances, joint attention between their halves. Weights live here alone."""
