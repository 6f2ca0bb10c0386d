"""Ten rules as people write them: most look at one type of event and a field or two of it."""

RULES = """
rules:
  - {name: opted-out, when: event.type == "analysis" && event.analysis.opt_out, stop: {scope: number}}
  - {name: angry, when: event.type == "analysis" && event.analysis.sentiment == "angry", stop: {scope: number}}
  - {name: wrong-number, when: event.type == "analysis" && event.analysis.wrong_number == true, stop: {scope: number}}
  - {name: voicemail, when: event.type == "analysis" && event.analysis.voicemail, stop: {scope: call}}
  - name: three-tries
    when: event.type == "finished" && event.status == "retry" && call.attempts_finished >= 3
    stop: {scope: call}
  - name: failed-twice
    when: event.type == "finished" && event.status == "failed" && call.attempts_finished >= 2
    stop: {scope: number}
  - {name: talked-long, when: event.type == "finished" && event.duration_seconds > 600.0, stop: {scope: number}}
  - {name: dear, when: event.status == "completed" && event.cost > 5.0, stop: {scope: campaign}}
  - {name: asked-not-to, when: event.type == "queued" && event.args.do_not_call == "yes", stop: {scope: call}}
  - {name: persistent, when: event.type == "started" && event.attempt >= 5, stop: {scope: number-in-campaign}}
"""
