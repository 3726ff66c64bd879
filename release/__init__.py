"""What is made of the code for a release: manual pages, completion. It is in no wheel."""
