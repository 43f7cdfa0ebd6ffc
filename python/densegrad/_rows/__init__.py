"""The data of a user on its way to rows that the core reads."""
