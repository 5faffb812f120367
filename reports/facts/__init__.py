"""What a report says: a sweep read into rows, tables and numbers."""
