"""Modules. They know ports and tensors, neither tasks nor recipes. A module says what it takes and gives in `ports`."""
