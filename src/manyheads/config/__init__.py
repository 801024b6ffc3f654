"""The recipe: its schema (`recipe`), its file with every value's place (`source`), and what joins the two (`load`)."""
