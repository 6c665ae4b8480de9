"""The command line and the programs: configuration, `up`, ingest, verify, api, replay, import, sim."""
