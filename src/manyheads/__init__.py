"""manyheads: one encoder, many heads."""
