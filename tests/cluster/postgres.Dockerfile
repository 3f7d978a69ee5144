# A stand-in for the public image postgres:17 where there is no registry: Debian's Postgres 17 under
# the same environment variables, user id and paths.
FROM python:3.13-slim
# hadolint ignore=DL3008
RUN export DEBIAN_FRONTEND=noninteractive && apt-get update -q \
    && apt-get install -qy --no-install-recommends postgresql-17 \
    && rm -rf /var/lib/apt/lists/* /etc/postgresql /var/lib/postgresql/17 \
        /usr/lib/*/libLLVM* /usr/lib/llvm* /usr/lib/postgresql/17/lib/llvmjit* /usr/lib/postgresql/17/lib/bitcode \
    && usermod --uid 999 postgres && groupmod --gid 999 postgres \
    && install -d -o 999 -g 999 /var/lib/postgresql/data /var/run/postgresql
ENV PATH=/usr/lib/postgresql/17/bin:$PATH PGDATA=/var/lib/postgresql/data LANG=C.UTF-8
COPY postgres-entrypoint.sh /usr/local/bin/
USER 999:999
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres-entrypoint.sh"]
CMD ["postgres"]
