"""The completion of bash, zsh and fish: what the commands take, and who knows their values."""
