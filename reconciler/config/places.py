"""Where the configuration and the database are, unless somebody says otherwise.

It imports next to nothing: what has to be quick looks here.
"""

from typing import Final

CONFIGURATION: Final = "/etc/treason/treason.toml"
WHITELIST: Final = "whitelist.toml"
"""The name of the file that commands write, beside the configuration."""

DATABASE: Final = "/var/lib/treason/treason.db"
