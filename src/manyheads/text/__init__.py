"""What text needs before it is numbers, and labels after: tags and spans."""
