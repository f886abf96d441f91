"""The recorded graph: element types, nodes, primitives, and what prints and checks them."""
