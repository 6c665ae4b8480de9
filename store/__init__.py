"""The only place with SQL: migrations, COPY writers, queries."""
