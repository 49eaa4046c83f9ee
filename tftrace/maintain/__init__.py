"""Operations on a whole trace: info, merge, prune, query."""
