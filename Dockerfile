# Two stages: what is needed to install stays behind. Every package is checked against its hash.
FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/vtsync
ENV PATH=/opt/vtsync/bin:$PATH
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY config config
COPY crm_adapters crm_adapters
COPY worker worker
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim
RUN useradd --system --create-home --uid 10001 vtsync && mkdir -p /var/lib/vtsync && chown vtsync /var/lib/vtsync
COPY --from=build /opt/vtsync /opt/vtsync
ENV PATH=/opt/vtsync/bin:$PATH PYTHONUNBUFFERED=1 VTSYNC_CONFIG=/var/lib/vtsync/vtsync.toml VTSYNC_LOG=json
WORKDIR /var/lib/vtsync
USER vtsync
# The store is reached and fits this version.
HEALTHCHECK --interval=30s --timeout=20s --start-period=20s CMD ["vtsync", "status", "--json"]
ENTRYPOINT ["vtsync"]
CMD ["worker"]
