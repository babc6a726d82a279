"""Ranking: the task, the scores, the counts and the result. `kerasrec.evaluation` exports it."""
