"""What a trained model has learned, seen from inside: attention, filters, positions, similarity of blocks, reach."""
