"""What is compared: cells on common genes, rounds of draws, bases, ranges."""
