"""The mechanic: a change of the tables, asked for in a small document, becomes files, is rehearsed, approved, applied.

`documents` reads and refuses, `writing` makes the files, `drafting` has Django make the migrations, `changes` are the
verbs, `applying` the steps that survive a kill. It adds; it never drops, renames or narrows (docs/mechanic.md).
"""
