"""From a record to an offence, and from offences to the decision whether they make a ban.

All of it is pure: no clock, no file and no database is read here.
"""
