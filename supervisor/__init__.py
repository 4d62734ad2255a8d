"""Keeps actors running: supervision, states, backoff, health, and the at-least-once mailbox.

Knows nothing of exchanges, files or configuration; needs trio and the standard library.

The terms are those of Erlang/OTP: "Supervisor Behaviour" in the OTP Design Principles,
https://www.erlang.org/doc/system/sup_princ.html (its text in the repository erlang/otp,
system/doc/design_principles/sup_princ.md, read 2026-11-22). What is the same:

- Children are started in order and stopped in reverse; each has a deadline, then it is cancelled. A
  supervisor below is given all the time its children need, unless told otherwise.
- permanent (always restarted), transient (only after a failure), temporary (never, not even when a
  sibling's restart ends it; then it is forgotten).
- one-for-one, rest-for-one (the child and those started after it), one-for-all. All who are restarted
  together have ended, in reverse order, before the first of them starts again, in order.
- Intensity: more than `restarts_max` within `period_s` on the monotonic clock is too much. Such a child,
  if told to escalate, takes its supervisor's other children down with it, and the supervisor ends with
  GaveUp; the one above decides in turn.

What differs, and why:

- Failures are judged first (`failures.classify`). TransientError, the fault of the world outside, never counts
  towards the intensity: an outage elsewhere must not stop us. A misconfigured, which only an operator can mend,
  is failed at once. Only bugs count, and a permanent child that ends unasked is one.
- Restarts wait: d = min(max_s, initial_s * 2^n), of which d/2 + uniform(0, d/2) is waited, Retry-After
  being a floor. OTP restarts at once, which is right for a broken process and wrong for a busy server.
  n returns to 0 only after `reset_s` of healthy work, not after connecting.
- Intensity is counted for each child, not for the whole supervisor, and a child that exceeds it is
  normally `failed` alone: siblings run on (under one-for-one), and it is probed every `probe_interval_s`
  until it says that it works. During a probe it still shows as failed. The crashes stay in the window,
  so that a relapse soon after is failed at once; an operator's restart clears them.
- A supervisor may stop its children together, as OTP's simple_one_for_one does.
- An actor is also ended when it is stuck; OTP leaves that to the caller's timeouts.
- The final stop closes an actor's input (`on_stop`) so that it drains. If it crashes while draining, or
  was waiting to be restarted with work in its mailbox, it is run again at once within its `stop_s`.
  Until its own turn to stop comes it is kept running, for those after it drain into it.

The parts: `tree.Supervisor` (the commands), `spec.ChildSpec` (what a child is), `context.Context` (what a
child is given), `mailbox.Mailbox`; beneath them `group` (who must end, who may start), `ending`, `child`,
`life`, `backoff`, `intensity`, `watch`, and the plain values of `states`, `health`, `failures`. `loopwatch` notices
when the whole loop does not turn.
"""
