"""The code that a call runs while a rule is armed.

The five terms
--------------

* **Point**: a named place in the program (`point`).  All Point objects with the same name in one
  registry share one state.
* **Placement**: one use of a point, on a callable, as a block or as a statement.  Its kind decides
  which faults it can express (`placement`).
* **Rule**: which points, when, which faults, under which conditions (`compiled_rule`).  An armed
  rule has counts, a deadline and an end as well (`armed_rule`).
* **Reach**: one call of a placement that meets the conditions of a rule, unless an earlier rule
  fired.  For a rule that acts after the call, a reach is one call that returned without an
  exception.  Each rule numbers its reaches from 1; this number is the *ordinal*.
* **Injection**: one firing of one rule, described by one immutable record (`injection`).

One call
--------

1. While nothing is armed, a decorated function runs its own code, and the methods of a point do
   nothing (`point.Point`).  Arming replaces the code of the function by a trampoline (see
   `chaospoint._patching.trampoline`) and the class of the point by `point.ArmedPoint`.
2. If exactly one rule is armed there, and it acts before the call and needs no label or argument,
   the trampoline takes the ordinal itself.  In all other cases the call runs a *search* (`search`),
   which tries the rules in order: it compares labels and arguments (`matching`), then takes an
   ordinal (`tally`).
3. The schedule of the rule decides which ordinals fire.  It is a pure function of the seed
   (`chance`) and is computed in advance, so most calls compare two integers and continue.
4. At its first firing at a placement, `binding` works out what the rule does there, as
   *effects* from a closed set (`effects`).  A driver carries them out: `drive.drive` in a thread,
   `drive.adrive` in a task.
5. If a rule acts after the call, a second search runs when the call has returned.

How the objects belong together
-------------------------------

::

    PointState --rules--> ArmedRule --tally--> Tally --> Schedule
        |                     ^
      sites                   |rule
        v                     |
      Site --rebuild()--> Binding (one for each rule and kind of placement)

* A ``PointState`` is all that Points of one name share.  Its ``rules`` is a tuple that arming swaps
  as a whole, so a call reads it without a lock and sees either the old or the new rules.
* An ``ArmedRule`` outlives its bindings.  Arming another rule at the same point binds all of them
  again, and ordinals continue only because every binding uses the tally of its rule.  A tally of
  its own for each binding would let ``times=5`` fire five times at each placement.
* A ``Binding`` is immutable apart from what it remembers of its first firing.  A trampoline or a
  search keeps the bindings it was built with.  So a call that is under way when a rule ends may
  still hold a binding of that rule, and every step that acts asks `ArmedRule.why` first.
* A ``Tally`` is shared by all threads.  Its `due` may be too low, which costs one extra check.  It
  must never be too high, which would lose a firing.

While chaospoint's own code runs, a context variable (`context`) makes all points transparent.

The rules of this package
-------------------------

* It imports only the standard library and `chaospoint.errors`: no models, no files, no HTTP.
* It holds no lock while an effect acts, because an effect may wait or run code of the program.
* It informs the observers of an injection before the injection acts.
"""
