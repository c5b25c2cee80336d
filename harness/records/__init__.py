"""What is kept: atomic files, journals, a folder per run, the tidy frames of a study."""
