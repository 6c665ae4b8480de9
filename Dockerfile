# One image for all of sitewatch's programs; docker-compose.yml says which one a container is.
#
# Every wheel that runs is pinned by hash (requirements-image.txt), and so is what builds ours (deploy/requirements-build.txt); the
# dashboard's files come by `npm ci` from package-lock.json. The base image is pinned by its tag: take its digest where you build.

FROM python:3.13.9-slim-trixie AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# What changes seldom comes first, so that a change of ours does not install everything again.
COPY requirements-image.txt ./
RUN python -m venv /app && /app/bin/pip install --require-hashes -r requirements-image.txt
COPY deploy/requirements-build.txt deploy/
RUN python -m venv /build && /build/bin/pip install --require-hashes -r deploy/requirements-build.txt

COPY pyproject.toml README.md hatch_build.py package.json package-lock.json .npmrc ./
COPY sitewatch sitewatch
COPY ingest ingest
COPY geofence geofence
COPY store store
COPY api api
COPY device-sim device-sim
# The embedded PostgreSQL and broker are left out of the image: compose has its own, and `sitewatch up` is not for containers.
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && /app/bin/pip install --no-deps --no-index /dist/*.whl \
    && /app/bin/python -m compileall -q /app/lib


FROM python:3.13.9-slim-trixie
LABEL org.opencontainers.image.title="sitewatch" \
      org.opencontainers.image.description="Was the worker on site, for how long, and how much of it did we actually see?"
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sitewatch
COPY --from=build /app /app
COPY deploy/healthcheck.py /app/healthcheck.py
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER sitewatch
WORKDIR /tmp
EXPOSE 8080
# For the api; the other programs have their own in docker-compose.yml.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "/app/healthcheck.py", "http", "http://127.0.0.1:8080/healthz"]
ENTRYPOINT ["sitewatch"]
CMD ["api", "--host", "0.0.0.0"]
