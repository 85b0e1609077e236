"""
The text of messages, out and in (floor 3).

Out: `content` says what a message says, as a `page` of `blocks`: the `payload`, what `supports`
it, how it is answered (`answering`), or why a reply decided nothing (`refusals`).
`render_text` and `render_html`, with its `styles`, write the page, and `compose` makes the bytes
of a mail of it, from `parts` whose values `flatten` has made safe.

In: `incoming` is a mail as it came in, read by `headers`, `mime`, `charsets` and `markup`;
`authentication` says whether its sender is vouched for, and `bounces` whether it reports another
mail. `reply` finds what a reviewer wrote: without what `sent` knows that we wrote, without the
`phrases` of mail clients, the `banners` of servers and the `armour` of signed text. `greetings` are
passed over, and `leftovers` tells whether anything is left; both know `formulas`, and `wording` has
what they count.

Both ways: `address` has the addresses that carry tokens, `editing` is approving with changes,
`marks` has the line that parts an answer from what it answers, and `loopback` tells which servers
need no TLS.
"""
