"""Files: the one-file format, strict loading with readable errors, random models, inspection."""
