# Two stages, so that the image does not contain the build tools. Every package is checked against its hash.
#   docker build .                                                  the standard image
#   docker build --build-arg LOCK=requirements-otel-sentry.lock .   with traces and error reports, too
# `make pin-images` appends its digest (name:version@sha256:...).
ARG IMAGE=python:3.12.9-slim-bookworm
FROM $IMAGE AS build
ARG LOCK=requirements.lock
WORKDIR /src
RUN python -m venv /opt/vtsync
ENV PATH=/opt/vtsync/bin:$PATH
COPY requirements.lock requirements-otel-sentry.lock ./
RUN pip install --no-cache-dir --require-hashes -r "$LOCK"
COPY pyproject.toml README.md LICENSE vtsync.py vtsync_testing.py ./
COPY config config
COPY crm_adapters crm_adapters
COPY worker worker
# Remove the installers: they are not needed at run time, and nothing should be installed into a running container.
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && pip uninstall --yes setuptools pip

FROM $IMAGE
RUN useradd --system --create-home --uid 10001 vtsync && install -d -o vtsync -g vtsync -m 0700 /var/lib/vtsync
COPY --from=build /opt/vtsync /opt/vtsync
# Nothing is written outside the data folder, so the root file system may be read-only.
ENV PATH=/opt/vtsync/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 VTSYNC_LOG=json \
    VTSYNC_CONFIG=/var/lib/vtsync/vtsync.toml
WORKDIR /var/lib/vtsync
USER vtsync
# Every command handles SIGTERM as process 1 and leaves no child processes, so no init is needed.
STOPSIGNAL SIGTERM
# Checks that this container's process works, whatever its role. Contacts neither the store nor the broker.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["vtsync", "health"]
ENTRYPOINT ["vtsync"]
CMD ["worker"]
