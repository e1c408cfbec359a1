"""What a call runs while something is armed.

The five words
--------------

* **Point**: a named place in the program (`point`).  Everything with the same name in one registry
  shares one state.
* **Placement**: one use of a point, on a callable, as a block or as a statement.  Its kind decides
  which faults it can express (`placement`).
* **Rule**: the points, the schedule, the faults and the conditions (`compiled_rule`).  Once armed
  it has counts, a deadline and an end (`armed_rule`).
* **Reach**: one arrival at a placement that a rule's conditions match, unless a rule before it
  fired.  For a rule that acts after the call it is one clean end of the call.  A rule numbers its
  reaches from 1; the number is the ordinal.
* **Injection**: one firing of one rule, described by one immutable record (`injection`).

The way of one call
-------------------

1. Disarmed, a decorated function runs its own code, and the methods of a point do nothing
   (`point.Point`).  Arming gives the function a trampoline (in ``_patching``) and the point another
   class (`point.ArmedPoint`).
2. If one rule is armed there, which acts before the call and asks for no label or argument, the
   trampoline takes the ordinal itself.  All else calls a search (`search`), which tries the rules
   in order: it compares labels and arguments (`matching`), then takes an ordinal (`tally`).
3. The ordinal fires if the rule's schedule says so.  The schedule is a pure function of the seed
   (`chance`) and is worked out ahead, so most calls compare two integers and go on.
4. What the rule does at this placement is prepared at its first firing (`binding`), as effects of a
   closed set (`effects`).  A driver acts on them: `drive.drive` in a thread, `drive.adrive` in a
   task.
5. If the rule acts after the call, a second search follows the clean end of the call.

chaospoint's own code sets a context variable (`context`), and no point acts while it is set.

The rules of this folder
------------------------

* It knows no model, no file and no HTTP, and imports only the standard library and its own errors.
* It holds none of its locks while an effect acts: an effect may wait or run code of the program.
* It tells the observers of an injection before the injection acts.
"""
