"""The way in: MQTT messages of every dialect become evidence or rejects, committed before they are acknowledged."""
