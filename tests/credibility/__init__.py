"""Tests of the engine: second definitions, laws and golden scenarios. No database, no broker, no mocks."""
