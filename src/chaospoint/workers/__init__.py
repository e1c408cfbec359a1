"""The processes of servers that fork or reload their workers."""
