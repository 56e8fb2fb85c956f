"""Test vectors of the wire: ``docs/vectors.json``, which ``docs/protocol.md`` quotes, and what a second implementation must get.

``python -m tests.vectors`` writes the vectors, and the generated parts of the document, anew from the code.
"""
