# docker build -t callbreaker .
# The service listens on loopback until its configuration says otherwise: give one with http.host 0.0.0.0 and operators.
#   docker run --read-only --tmpfs /tmp -p 8080:8080 --env-file secrets.env \
#     -v ./callbreaker.yaml:/etc/callbreaker/callbreaker.yaml:ro -v callbreaker:/var/lib/callbreaker \
#     callbreaker run --config /etc/callbreaker/callbreaker.yaml

FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/callbreaker
ENV PATH=/opt/callbreaker/bin:$PATH
COPY pyproject.toml constraints.txt README.md ./
COPY consumer consumer
COPY handlers handlers
RUN pip install --no-cache-dir -c constraints.txt .

FROM python:3.12-slim
RUN groupadd --gid 10001 callbreaker \
 && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /var/lib/callbreaker --shell /usr/sbin/nologin callbreaker \
 && install --directory --owner=callbreaker --group=callbreaker /var/lib/callbreaker
COPY --from=build /opt/callbreaker /opt/callbreaker
ENV PATH=/opt/callbreaker/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# By number, so that a cluster can tell that it is not root.
USER 10001:10001
# Nothing else is written to, /tmp apart: the root file system may be read-only.
WORKDIR /var/lib/callbreaker
VOLUME /var/lib/callbreaker
EXPOSE 8080
# A port other than 8080 is to be told to both sides: by CALLBREAKER__HTTP__PORT.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "\
import http.client, os, sys; \
probe = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('CALLBREAKER__HTTP__PORT', '8080')), timeout=3); \
probe.request('GET', '/healthz'); \
sys.exit(probe.getresponse().status != 200)"]
ENTRYPOINT ["callbreaker"]
CMD ["run"]
