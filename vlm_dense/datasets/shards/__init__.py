"""Pictures with captions in tar files (WebDataset shards), for data beyond what a file system holds file by file."""
