"""Functions of Tensors as programs, and parts of these as networks of the backend."""
