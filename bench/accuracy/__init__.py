"""How right the engine is: simulated visits of which the truth is known, judged, and scored beside what others do.

    python -m bench.accuracy --help

    world (town, drift) ─▶ Case: scene, evidence, truth ─▶ Answer (engine, baselines) ─▶ Row: errors of one visit ─▶ tables, plots

Rules kept here:

- Two worlds that share no code and no assumption: `town` is the project's simulator, `drift` is made here to disagree with it. What
  holds in one only is fitted to a simulator and not to the world.
- Seeds 1 to 99 are for fitting; published figures come from seeds of 1000 and above, which nobody looked at before.
- The truth is computed from where the worker really was and from the definition of coverage in words.md, never with the engine.
"""
