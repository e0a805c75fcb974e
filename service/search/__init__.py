"""Search: trials drawn from a space, the rungs of successive halving, and proposals of TPE; pure Python."""
