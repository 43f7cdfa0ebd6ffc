"""The ground: the table, the plan, types, checks; what everybody above may use."""
