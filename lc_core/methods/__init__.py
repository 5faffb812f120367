"""Methods of compression, one a file behind one protocol: LC, and what the literature does in its place."""
