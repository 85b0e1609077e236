"""
Flows: declaring them, running them, and what happens inside a step (floor 6).

Declaring: `dsl` stamps methods, `flow` is the class that users write, and `code` is what a stored
run finds of it again.

A run: `api` is what applications call, and `beginning` makes a new one. `executor` claims one;
`loading` finds its code and `migrating` brings it to the code of today; `seal_invalid` is for one
that somebody changed. `session` is a run in its holder's hands. `drive` lets its steps run, told
by `signals`; `endings` says what an end changes and `recorder` commits it, or `answering`, where
a gate's answer is all that a step waited for.

Inside a step: `attempt` is what its calls meet, and `calls` what is journaled of them. `asking`
opens a question that `drafts` draws up, `permits` reads what its answer allows, `performing` runs
the body, and `in_doubt` settles what nobody saw end. `failures` stores exceptions,
and `places` says where the user's code is.

State: `state` is what the steps of a run share, `tracking` notes who touches what of it, and
`undo` takes that back.
"""
