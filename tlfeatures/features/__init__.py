"""The slow half: images to embeddings. Nothing here knows about labels or heads."""
