"""``p2praft snapshot``: a group's map into a file, and from a file into a group."""
