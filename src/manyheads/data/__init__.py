"""From files to batches: read, encode, collate, mix."""
