"""``p2praft doctor``: finds, by trying, why nodes do not see each other, and says what to do."""
