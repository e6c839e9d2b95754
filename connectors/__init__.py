"""Where evidence comes from: one venue, or one kind of books, a file, behind one Protocol."""
