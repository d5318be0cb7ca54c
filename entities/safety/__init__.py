"""Migrations that cannot hurt: the rules, told when a migration is made, when it is applied, and by the database.

`rules` reads operations, `statements` reads SQL, `plans` judges whole plans, `guard` is the database's own refusal, and
`applying` waits for locks only as long as people can wait (docs/adr/0118).
"""

from entities.safety.plans import OURS, Problem, judge, judge_tree, told

__all__ = ["OURS", "Problem", "judge", "judge_tree", "told"]
