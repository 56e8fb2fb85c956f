"""The room of histories: how a group's log begins, meets another, ends, and begins again.

Inside a history there is Raft by the book, which knows nothing of this room. Start reading at :mod:`.states`, which has the
states and the table of what leads from one to another. :mod:`.life` takes what comes, :mod:`.rules` has the questions,
:mod:`.holding` the changes, :mod:`.meeting` the proofs of life.
"""
