# SPDX-License-Identifier: Apache-2.0
# kvmexporter with the distribution's Python and bcc, and headers for its BPF programs: they
# read no kernel structures, so these serve on any node.
FROM debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY kvmexporter ./kvmexporter
COPY dashboards ./dashboards
COPY docs/runbooks ./docs/runbooks
RUN python3 -m venv /opt/kvmexporter \
    && /opt/kvmexporter/bin/pip install --no-cache-dir .[fast] \
    && /opt/kvmexporter/bin/pip uninstall -y pip setuptools

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        python3 python3-bpfcc "linux-headers-$(dpkg --print-architecture)" \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --user-group --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin kvmexporter
COPY --from=build /opt/kvmexporter /opt/kvmexporter
ENV PATH=/opt/kvmexporter/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1
EXPOSE 9942
# Health is asked for at /-/healthy, over plain HTTP: with a web configuration, override it.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/bin/python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9942/-/healthy', timeout=4)"]
# Root loads the BPF programs; what faces the network is kvmexporter, without a capability.
ENTRYPOINT ["/opt/kvmexporter/bin/kvmexporter"]
CMD ["serve", "--user", "kvmexporter", "--web.listen-address", ":9942"]
