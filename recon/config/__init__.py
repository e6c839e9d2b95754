"""`recon.toml`: read, checked and turned into typed settings; secrets."""
